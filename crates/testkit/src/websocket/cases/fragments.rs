//! Group 5: messages in fragments.

use super::{Case, Frame, PROTOCOL, Send};

pub(super) fn cases() -> Vec<Case> {
    let (one, two) = ("fragment1", "fragment2");
    let both = "fragment1fragment2";
    let first = || Frame::text(one).unfinished();
    let chopped = |case: Case| {
        let send = case.send.into_iter().map(|send| match send {
            Send::Frame(frame) => Send::Chopped(frame, 1),
            other => other,
        });
        Case { send: send.collect(), ..case }
    };
    let with_ping = |id: &str| {
        Case::new(id)
            .send(first())
            .send(Frame::ping("ping"))
            .send(Frame::continuation(two))
            .text(both)
            .pong("ping")
    };
    let many_fragments = |id: &str| {
        let begun = Case::new(id).send(first());
        let case = [two, "fragment3", "fragment4"]
            .into_iter()
            .fold(begun, |case, part| case.send(Frame::continuation(part).unfinished()));
        case.send(Frame::continuation("fragment5")).text("fragment1fragment2fragment3fragment4fragment5")
    };
    let with_two_pings = |id: &str| {
        Case::new(id)
            .send(first())
            .send(Frame::continuation(two).unfinished())
            .send(Frame::ping("pongme 1"))
            .send(Frame::continuation("fragment3").unfinished())
            .send(Frame::continuation("fragment4").unfinished())
            .send(Frame::ping("pongme 2"))
            .send(Frame::continuation("fragment5"))
            .text("fragment1fragment2fragment3fragment4fragment5")
            .pong("pongme 1")
            .pong("pongme 2")
    };
    let loose = |id: &str, is_final: bool| {
        let loose = Frame::continuation("non-continuation payload");
        Case::new(id)
            .send(if is_final { loose } else { loose.unfinished() })
            .send(Frame::text("Hello, world!"))
            .end(PROTOCOL)
    };
    let loose_twice = |id: &str, is_final: bool| {
        let loose = || {
            let loose = Frame::continuation(one);
            if is_final { loose } else { loose.unfinished() }
        };
        Case::new(id)
            .send(loose())
            .send(Frame::text(one).unfinished())
            .send(Frame::continuation(two))
            .send(loose())
            .end(PROTOCOL)
    };
    let after_a_whole = |id: &str, is_final: bool| {
        let loose = Frame::continuation("loose");
        Case::new(id)
            .send(first())
            .send(Frame::continuation(two))
            .send(if is_final { loose } else { loose.unfinished() })
            .send(Frame::text("Hello, world!"))
            .text(both)
            .end(PROTOCOL)
    };
    vec![
        Case::new("5.1").send(Frame::ping(one).unfinished()).send(Frame::continuation(two)).end(PROTOCOL),
        Case::new("5.2").send(Frame::pong(one).unfinished()).send(Frame::continuation(two)).end(PROTOCOL),
        Case::new("5.3").send(first()).send(Frame::continuation(two)).text(both),
        Case::new("5.4").chopped(first(), 1024).chopped(Frame::continuation(two), 1024).text(both),
        chopped(Case::new("5.5").send(first()).send(Frame::continuation(two)).text(both)),
        with_ping("5.6"),
        Case {
            send: with_ping("")
                .send
                .into_iter()
                .map(|send| match send {
                    Send::Frame(frame) => Send::Chopped(frame, 1024),
                    other => other,
                })
                .collect(),
            ..with_ping("5.7")
        },
        chopped(with_ping("5.8")),
        loose("5.9", true),
        loose("5.10", true),
        chopped(loose("5.11", true)),
        loose("5.12", false),
        loose("5.13", false),
        chopped(loose("5.14", false)),
        after_a_whole("5.15", true),
        loose_twice("5.16", false),
        loose_twice("5.17", true),
        Case::new("5.18").send(first()).send(Frame::text(two)).end(PROTOCOL),
        with_two_pings("5.19"),
        chopped(with_two_pings("5.20")),
        many_fragments("5.21"),
        after_a_whole("5.22", false),
    ]
}
