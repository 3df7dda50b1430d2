//! What a string may be: names, paths, durations, tokens, and how each is read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use jiff::Timestamp;
use trunkline_core::secret::{Secret, TokenDigest};

use crate::url::{self, BaseUrl};
use crate::{Environment, paths, units};

/// A kind of string.
pub(crate) struct Format {
    /// What is allowed, for a message: `expected …`.
    pub(crate) expected: &'static str,
    /// Whether a message may show what was found.
    pub(crate) shown: bool,
    /// Whether `""` is as good as leaving the field out, as it is in sing-box's configurations.
    pub(crate) blank_is_unset: bool,
    /// A pattern for the schema.
    pub(crate) pattern: Option<&'static str>,
    /// Reads it. The reason for refusing it never shows it, and may be empty.
    pub(crate) read: fn(&str, &dyn Environment) -> Result<Scalar, String>,
}

/// A string that was read.
#[derive(Debug)]
pub(crate) enum Scalar {
    Text(String),
    Secret(Secret),
    Path(PathBuf),
    Address(IpAddr),
    Duration(Duration),
    Url(BaseUrl),
    Timestamp(Timestamp),
    Digest(TokenDigest),
}

/// The longest protocol name of ALPN.
const LONGEST_ALPN: usize = 255;

const REFUSED: fn() -> String = String::new;

pub(crate) static ANY: Format = Format {
    expected: "a string",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| Ok(Scalar::Text(text.to_owned())),
};

pub(crate) static NAME: Format = Format {
    expected: "a name, not blank and without control characters",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let good = !text.trim().is_empty() && !text.chars().any(char::is_control);
        if good { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static PATH: Format = Format {
    expected: "a path",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, env| {
        if text.is_empty() {
            return Err(REFUSED());
        }
        paths::resolve(text, env).map(Scalar::Path)
    },
};

/// sing-box's words for the standard streams, which are no file names.
pub(crate) const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

pub(crate) static LOG_OUTPUT: Format = Format {
    expected: "a path",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, env| match text {
        STDOUT | STDERR => Ok(Scalar::Text(text.to_owned())),
        _ => (PATH.read)(text, env),
    },
};

pub(crate) static DURATION: Format = Format {
    expected: "a duration such as \"90s\" or \"1h30m\"",
    shown: true,
    blank_is_unset: true,
    pattern: Some(DURATION_PATTERN),
    read: |text, _| units::duration(text).map(Scalar::Duration).ok_or_else(REFUSED),
};

pub(crate) static POSITIVE_DURATION: Format = Format {
    expected: "a duration above zero such as \"90s\" or \"1h30m\"",
    shown: true,
    blank_is_unset: true,
    pattern: Some(DURATION_PATTERN),
    read: |text, _| match units::duration(text) {
        Some(duration) if !duration.is_zero() => Ok(Scalar::Duration(duration)),
        _ => Err(REFUSED()),
    },
};

const DURATION_PATTERN: &str = r"^\+?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d))+)$";

pub(crate) static LIMIT_WINDOW: Format = Format {
    expected: "5h, day, week, month, or a duration above zero",
    shown: true,
    blank_is_unset: false,
    pattern: None,
    read: |text, _| {
        let named = matches!(text, "day" | "week" | "month");
        let lasting = units::duration(text).is_some_and(|duration| !duration.is_zero());
        if named || lasting { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static ADDRESS: Format = Format {
    expected: "an IP address such as \"127.0.0.1\" or \"::\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| text.parse().map(Scalar::Address).map_err(|_| REFUSED()),
};

pub(crate) static NETWORK: Format = Format {
    expected: "an address or a network such as \"10.0.0.0/8\"",
    shown: true,
    blank_is_unset: false,
    pattern: None,
    read: |text, _| {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| REFUSED())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let digits = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
        let fits = |length: &str| digits(length) && length.parse().is_ok_and(|length: u8| length <= longest);
        if length.is_none_or(fits) { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static HOST: Format = Format {
    expected: "a host name or an IP address",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        if text.parse::<IpAddr>().is_err() {
            url::check_host(text).map_err(str::to_owned)?;
        }
        Ok(Scalar::Text(text.to_owned()))
    },
};

pub(crate) static URL: Format = Format {
    expected: "a URL such as \"https://api.example.com\"",
    // May hold a password, which is why it is refused.
    shown: false,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| BaseUrl::parse(text).map(Scalar::Url).map_err(str::to_owned),
};

pub(crate) static URL_PATH: Format = Format {
    expected: "a path such as \"/connect\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let good = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
        if good { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static URL_PREFIX: Format = Format {
    expected: "a path such as \"/claude\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let prefix = text.strip_suffix('/').unwrap_or(text);
        let Some(below) = text.strip_prefix('/') else {
            return Err("must start with \"/\"".to_owned());
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
        if !text.bytes().all(allowed) {
            return Err("only letters, digits and -._~!$&'()*+,;=:@ may stand between the slashes".to_owned());
        }
        let below = below.strip_suffix('/').unwrap_or(below);
        if !prefix.is_empty() && below.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("must not contain //, . or ..".to_owned());
        }
        Ok(Scalar::Text(prefix.to_owned()))
    },
};

pub(crate) static TOKEN: Format = Format {
    expected: "a token of printable ASCII characters",
    shown: false,
    blank_is_unset: false,
    pattern: None,
    read: |text, _| {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        if text.trim() != text {
            return Err("starts or ends with white space".to_owned());
        }
        // Anything else cannot be sent in a header, so that no client could ever use it.
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err("has characters that no HTTP header can carry".to_owned());
        }
        Ok(Scalar::Secret(Secret::new(text)))
    },
};

pub(crate) static SECRET: Format = Format {
    expected: "a string",
    shown: false,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| Ok(Scalar::Secret(Secret::new(text))),
};

pub(crate) static PEM: Format = Format {
    expected: "PEM text or its lines",
    shown: false,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| Ok(Scalar::Secret(Secret::new(text))),
};

pub(crate) static SHA256: Format = Format {
    expected: "64 hexadecimal digits",
    // A plain token may stand here by mistake.
    shown: false,
    blank_is_unset: false,
    pattern: Some("^[0-9A-Fa-f]{64}$"),
    read: |text, _| TokenDigest::from_hex(text).map(Scalar::Digest).ok_or_else(REFUSED),
};

pub(crate) static HEADER_VALUE: Format = Format {
    expected: "a header value of printable ASCII characters",
    shown: false,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| match HeaderValue::from_str(text) {
        Ok(value) if value.to_str().is_ok() => Ok(Scalar::Secret(Secret::new(text))),
        _ => Err(REFUSED()),
    },
};

pub(crate) static GLOB: Format = Format {
    expected: "a glob such as \"claude-*\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let good = !text.is_empty() && !text.chars().any(char::is_control);
        if good { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static PATH_GLOB: Format = Format {
    expected: "a glob of paths such as \"/v1/files/*\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let good = text.starts_with('/') && !text.chars().any(char::is_control);
        if good { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static ALPN: Format = Format {
    expected: "a protocol name such as \"h2\"",
    shown: true,
    blank_is_unset: true,
    pattern: None,
    read: |text, _| {
        let good = (1..=LONGEST_ALPN).contains(&text.len());
        if good { Ok(Scalar::Text(text.to_owned())) } else { Err(REFUSED()) }
    },
};

pub(crate) static TIMESTAMP: Format = Format {
    expected: "a time such as \"2027-01-31T23:59:59Z\"",
    shown: true,
    blank_is_unset: false,
    pattern: Some(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$"),
    read: |text, _| match is_rfc3339(text).then(|| text.parse()) {
        Some(Ok(timestamp)) => Ok(Scalar::Timestamp(timestamp)),
        _ => Err(REFUSED()),
    },
};

/// Whether `text` has the shape of RFC 3339: the parser proper takes more than that.
fn is_rfc3339(text: &str) -> bool {
    const DATE_TIME: &str = "0000-00-00T00:00:00";
    let fits = |shape: &str, text: &str| {
        shape.len() == text.len()
            && shape.bytes().zip(text.bytes()).all(|(shape, byte)| match shape {
                b'0' => byte.is_ascii_digit(),
                other => byte.eq_ignore_ascii_case(&other),
            })
    };
    let Some((date_time, rest)) = text.split_at_checked(DATE_TIME.len()) else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|next: char| next.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
    };
    fits(DATE_TIME, date_time) && (fits("Z", zone) || fits("+00:00", zone) || fits("-00:00", zone))
}

#[cfg(test)]
mod tests;
