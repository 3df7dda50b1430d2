//! Any bytes as the journal of a refresh: they are read or refused, and what is read changes only with what it stands in.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_login_store::journal_record::parse;

fuzz_target!(|data: &[u8]| {
    let Ok(read) = parse(data) else { return };
    assert_eq!(parse(data), Ok(read.clone()));
    for answer in read.answers() {
        let answer = answer.raw();
        assert!(answer.is_empty() || data.windows(answer.len()).any(|window| window == answer));
    }
    // More zeros behind it, as a journal has, take no answer away and make none. A lock or an image may have lacked just these.
    let padded = [data, &[0; 64]].concat();
    assert_eq!(parse(&padded).expect("it was read before").answers(), read.answers());
});
