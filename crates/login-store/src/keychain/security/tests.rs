use std::time::Instant;

use proptest::prelude::*;

use super::line::{MAX_LINE, add_line, text_of};
use super::process::{RunProblem, run};
use super::*;

/// How `security -i` splits a line into words.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        let Some(quote) = bytes.peek().copied() else { return words };
        let quote = [b'"', b'\''].contains(&quote).then_some(quote);
        if quote.is_some() {
            bytes.next();
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => word.extend(bytes.next()),
                _ if Some(byte) == quote => break,
                _ if quote.is_none() && byte.is_ascii_whitespace() => break,
                _ => word.push(byte),
            }
        }
        words.push(word);
    }
}

/// What a line sets: data, service and account, if it has all that the command asks for.
fn set_by(line: &[u8]) -> Option<[Vec<u8>; 3]> {
    let words = words(line);
    let (command, mut rest) = words.split_first()?;
    assert_eq!(command, b"add-generic-password");
    let (mut data, mut service, mut account) = (None, None, None);
    while let Some((option, after)) = rest.split_first() {
        rest = after;
        if option == b"-U" {
            continue;
        }
        let Some((value, after)) = rest.split_first() else { break };
        rest = after;
        match option.as_slice() {
            b"-w" => data = Some(value.clone()),
            b"-X" => {
                let digits = std::str::from_utf8(value).unwrap();
                let pairs = (0..digits.len() / 2).map(|at| &digits[2 * at..2 * at + 2]);
                data = Some(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect());
            }
            b"-s" => service = Some(value.clone()),
            b"-a" => account = Some(value.clone()),
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
    Some([data.unwrap_or_default(), service?, account?])
}

proptest! {
    #[test]
    fn a_line_means_what_was_put_into_it(
        text in prop_oneof![
            proptest::collection::vec(any::<u8>(), 1..60),
            "[ -~]{1,60}".prop_map(String::into_bytes),
            r#"[\\'" {}]{1,20}"#.prop_map(String::into_bytes),
        ],
        service in r#"[a-zA-Z \\'"-]{1,30}"#,
        account in r#"[a-z.é\\'"-]{1,20}"#,
    ) {
        let item = KeychainItem::new(service.clone(), account.clone()).unwrap();
        let line = add_line(&item, &text);
        prop_assert!(!line[..line.len() - 1].contains(&b'\n'));
        prop_assert_eq!(line.last(), Some(&b'\n'));
        let expected = [text.clone(), service.into_bytes(), account.into_bytes()];
        prop_assert_eq!(set_by(&line), Some(expected));
        // A line that is cut off never sets a part of the text in the item.
        for end in 21..line.len() - 1 {
            if let Some([data, found_service, _]) = set_by(&line[..end]) {
                prop_assert_eq!((&data, found_service.as_slice()), (&text, item.service().as_bytes()));
            }
        }
    }

    #[test]
    fn what_is_printed_is_what_was_kept(text in proptest::collection::vec(any::<u8>(), 0..60)) {
        let is_login = text.starts_with(b"{");
        let digits: Vec<String> = text.iter().map(|byte| format!("{byte:02x}")).collect();
        if !text.is_empty() {
            for prefix in ["", "0x"] {
                let printed = format!("{prefix}{}\n", digits.concat());
                let read = text_of(printed.as_bytes());
                prop_assert_eq!(read.as_bytes(), &text);
            }
        }
        if is_login {
            let printed = [text.as_slice(), b"\n"].concat();
            let read = text_of(&printed);
            prop_assert_eq!(read.as_bytes(), &text);
        }
    }
}

#[test]
fn room_is_what_a_line_has() {
    let tool = SecurityTool::at(PathBuf::from("/nonexistent"), LIMIT);
    let item = KeychainItem::new("Claude Code-credentials", "alice").unwrap();
    let text = |byte: u8, length| LoginText::new(vec![byte; length]);
    let overhead = add_line(&item, b"").len();
    for (byte, each) in [(b'x', 1), (b'\'', 2), (b'\n', 2), (0xc3, 2)] {
        let most = (MAX_LINE - overhead) / each;
        assert!(tool.has_room(&item, &text(byte, most), 0), "{byte}");
        assert!(!tool.has_room(&item, &text(byte, most + 1), 0), "{byte}");
        assert!(!tool.has_room(&item, &text(byte, most), 2), "{byte}");
        assert_eq!(tool.write(&item, &text(byte, most + 1)), Err(KeychainProblem::NoRoom));
    }
    // A login with the tokens of real ones, and room for one more service's.
    assert!(tool.has_room(&item, &text(b'x', 3000), 512));
    assert!(!tool.has_room(&item, &text(b'x', usize::from(u16::MAX)), usize::MAX));
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_program_runs_to_its_end() {
    let ran = run(&mut shell("cat; exit 7"), b"line\n", 100, LIMIT).unwrap();
    assert_eq!((ran.code, ran.output.as_slice()), (7, b"line\n".as_slice()));
    // More than a pipe holds, both ways.
    let much = vec![b'x'; 1 << 20];
    let ran = run(&mut shell("cat"), &much, 1 << 20, LIMIT).unwrap();
    assert!(ran.code == 0 && *ran.output == much);
    // It need not read.
    let ran = run(&mut shell("exec 0<&-; echo no; exit 3"), &much, 100, LIMIT).unwrap();
    assert_eq!((ran.code, ran.output.as_slice()), (3, b"no\n".as_slice()));
    assert_eq!(run(&mut shell("kill -9 $$"), b"", 100, LIMIT).unwrap().code, -1);
    assert!(matches!(
        run(&mut Command::new("/nonexistent/security"), b"", 100, LIMIT),
        Err(RunProblem::Io(error)) if error.kind() == std::io::ErrorKind::NotFound
    ));
}

#[test]
fn a_program_is_not_waited_for_forever() {
    let begun = Instant::now();
    let short = Duration::from_millis(100);
    // It hangs; it hangs with its output at an end; it neither reads nor writes.
    for script in ["exec sleep 60", "exec 1>&-; exec sleep 60", "exec sleep 60 0<&0"] {
        let much = vec![b'x'; 1 << 20];
        for input in [b"".as_slice(), &much] {
            assert!(
                matches!(run(&mut shell(script), input, 100, short), Err(RunProblem::TimedOut)),
                "{script}"
            );
        }
    }
    // It never ends its output.
    assert!(matches!(run(&mut shell("exec cat /dev/zero"), b"", 1 << 20, LIMIT), Err(RunProblem::TooLarge)));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
