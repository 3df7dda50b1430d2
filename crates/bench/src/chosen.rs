//! Which scenarios are meant by prefixes of their names.

use std::fmt::Display;

use anyhow::bail;

/// Those of `all` whose name begins with one of `prefixes`, or all if there are none. A prefix without a scenario is an
/// error.
pub(crate) fn chosen<T: Display>(all: Vec<T>, prefixes: &[String]) -> anyhow::Result<Vec<T>> {
    let names: Vec<String> = all.iter().map(T::to_string).collect();
    if let Some(unknown) = prefixes.iter().find(|prefix| !names.iter().any(|name| name.starts_with(*prefix)))
    {
        bail!("no scenario begins with {unknown}; there are {}", names.join(", "));
    }
    let wanted =
        |name: &String| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix));
    Ok(all.into_iter().zip(&names).filter(|(_, name)| wanted(name)).map(|(scenario, _)| scenario).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_choose() {
        let choose = |prefixes: &[&str]| {
            let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
            chosen(vec!["small", "burst-16", "burst-200"], &prefixes)
        };
        assert_eq!(choose(&[]).unwrap(), ["small", "burst-16", "burst-200"]);
        assert_eq!(choose(&["burst"]).unwrap(), ["burst-16", "burst-200"]);
        assert_eq!(choose(&["burst-2", "small"]).unwrap(), ["small", "burst-200"]);
        let error = choose(&["small", "bust"]).unwrap_err().to_string();
        assert!(error.contains("bust; there are small, burst-16"), "{error}");
    }
}
