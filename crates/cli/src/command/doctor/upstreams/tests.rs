use std::net::IpAddr;

use trunkline_engine::upstream::probe::Passed;

use super::super::finding::Level;
use super::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
}

#[test]
fn a_clock_is_judged_by_what_is_certain() {
    let took = Duration::from_secs(2);
    // (the provider's second, when the answer was here) → level and words.
    for (date, received, level, words) in [
        (100, 100, Level::Ok, "the clocks agree"),
        (100, 102, Level::Ok, "the clocks agree"),
        (100, 103, Level::Ok, "the clocks agree"),
        (100, 133, Level::Ok, "30 s ahead of"),
        (100, 134, Level::Warning, "31 s ahead of"),
        (100, 343, Level::Warning, "4 m 0 s ahead of"),
        (100, 344, Level::Problem, "4 m 1 s ahead of"),
        (130, 100, Level::Ok, "30 s behind"),
        (131, 100, Level::Warning, "31 s behind"),
        (341, 100, Level::Problem, "4 m 1 s behind"),
    ] {
        let finding = of_clock(Some(at(date)), at(received), took);
        assert!(finding.level == level && finding.found.contains(words), "{date} {received}: {finding:?}");
    }
    assert_eq!(of_clock(None, at(0), took).level, Level::Ok);
    assert_eq!(of_clock(Some(SystemTime::UNIX_EPOCH), at(0), took).level, Level::Problem);
}

#[test]
fn every_stage_is_told_and_the_end_has_a_remedy() {
    let took = Duration::from_millis(12);
    let addresses: Vec<IpAddr> = (1..=6).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    let passed: Vec<_> = [
        Stage::Lookup { host: "api.example".to_owned(), addresses },
        Stage::Connect { address: "192.0.2.1:443".parse().unwrap() },
        Stage::Proxy { outbound: "outbound corp".into() },
        Stage::Tls { is_http2: true },
        Stage::Answer { status: 404, date: Some(at(0)), received: at(0) },
    ]
    .into_iter()
    .map(|stage| Passed { stage, took })
    .collect();
    let found: Vec<_> = findings(&Report { passed, failed: None }, true);
    let words: Vec<_> = found.iter().map(|finding| finding.found.as_str()).collect();
    assert_eq!(
        words,
        [
            "api.example is 192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 2 more, found in 12 ms",
            "TCP to 192.0.2.1:443 in 12 ms",
            "outbound corp opened the way in 12 ms",
            "TLS in 12 ms, with HTTP/2",
            "it answered in 12 ms (status 404, asked without a credential)",
            "the clocks agree",
        ]
    );
    for at in [StageKind::Lookup, StageKind::Connect, StageKind::Proxy, StageKind::Tls, StageKind::Answer] {
        let report = Report { passed: Vec::new(), failed: Some(Failed { at, why: "x: y".to_owned() }) };
        for has_way in [false, true] {
            let found = findings(&report, has_way);
            let [finding] = found.as_slice() else { panic!("{found:?}") };
            assert!(finding.level == Level::Problem && finding.remedy.is_some(), "{finding:?}");
        }
    }
}
