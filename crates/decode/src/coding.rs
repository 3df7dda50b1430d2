//! Which coding a body has, by its `content-encoding`.

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// The body is not compressed.
    Identity,
    /// `gzip`, also of several members.
    Gzip,
    /// `deflate`: in the zlib format, as the standard has it, or without, as some servers send it.
    Deflate,
    /// `zstd`.
    Zstd,
    /// `br`.
    Brotli,
    /// Another coding, or one over another. No client offers to read two at once, and none was ever seen.
    Unknown,
}

impl ContentCoding {
    /// The coding that the values of all `content-encoding` fields name together. A field may have a list of codings; those that
    /// change nothing (`identity`, and empty members) do not count. A value that is not text is `None`.
    pub fn of<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut coding = Self::Identity;
        for value in values {
            let Some(value) = value else { return Self::Unknown };
            for member in value.split(',') {
                let named = Self::named(member.trim_matches([' ', '\t']));
                coding = match (coding, named) {
                    (Self::Identity, named) => named,
                    (coding, Self::Identity) => coding,
                    _ => return Self::Unknown,
                };
            }
        }
        coding
    }

    fn named(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name {
            _ if name.is_empty() || is("identity") => Self::Identity,
            _ if is("gzip") || is("x-gzip") => Self::Gzip,
            _ if is("deflate") => Self::Deflate,
            _ if is("zstd") => Self::Zstd,
            _ if is("br") => Self::Brotli,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_several_fields_name_one_coding_or_none_that_is_known() {
        let of = |values: &[&str]| ContentCoding::of(values.iter().map(|value| Some(*value)));
        for (values, coding) in [
            (&[][..], ContentCoding::Identity),
            (&[""], ContentCoding::Identity),
            (&["identity"], ContentCoding::Identity),
            (&["GZip"], ContentCoding::Gzip),
            (&["x-gzip"], ContentCoding::Gzip),
            (&["deflate"], ContentCoding::Deflate),
            (&[" zstd\t"], ContentCoding::Zstd),
            (&["br"], ContentCoding::Brotli),
            (&["identity, br ,"], ContentCoding::Brotli),
            (&["identity", "zstd"], ContentCoding::Zstd),
            (&["zstd", "identity"], ContentCoding::Zstd),
            (&["gzip, zstd"], ContentCoding::Unknown),
            (&["gzip", "gzip"], ContentCoding::Unknown),
            (&["compress"], ContentCoding::Unknown),
            (&["identity, rot13"], ContentCoding::Unknown),
        ] {
            assert_eq!(of(values), coding, "{values:?}");
        }
        assert_eq!(ContentCoding::of([Some("gzip"), None]), ContentCoding::Unknown);
    }
}
