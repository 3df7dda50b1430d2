//! Why a file that a configuration names cannot be used, and what to do about it.

use std::io::{Error, ErrorKind};

/// Says it in words that follow the file's name and a colon. It never shows what is in the file.
pub fn file_error(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file; create it, or correct the path".to_owned(),
        ErrorKind::PermissionDenied => {
            "this user may not read it; run as its owner, or let this user read it and enter its directories"
                .to_owned()
        }
        ErrorKind::IsADirectory => "is a directory; name the file in it".to_owned(),
        ErrorKind::NotADirectory => {
            "a part of its path is a file where a directory should be; correct the path".to_owned()
        }
        ErrorKind::InvalidData => format!("cannot be read: {error}; it should be a small text file in UTF-8"),
        _ => format!("cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_to_do() {
        for (kind, words) in [
            (ErrorKind::NotFound, "create it"),
            (ErrorKind::PermissionDenied, "run as its owner"),
            (ErrorKind::IsADirectory, "name the file in it"),
            (ErrorKind::NotADirectory, "correct the path"),
            (ErrorKind::InvalidData, "UTF-8"),
            (ErrorKind::Other, "cannot be read"),
        ] {
            assert!(file_error(&kind.into()).contains(words), "{kind}");
        }
    }
}
