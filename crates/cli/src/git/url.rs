//! Git URLs that a build plane can use.

use std::fmt;

use crate::exit::ExitStatus;
use crate::failure::{Failure, Result};

/// A repository's URL that is at least not nonsense. Whether it answers is found out by the run's checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitUrl {
    text: String,
    /// The last part of the path, without `.git`.
    repository: String,
}

impl GitUrl {
    /// Whether an argument is meant to be a URL and not a path.
    pub(crate) fn looks_like_one(argument: &str) -> bool {
        argument.contains("://") || scp_like(argument).is_some()
    }

    pub(crate) fn parse(argument: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Failure::new(format!("{argument:?} is not a git URL that a build plane can use: {why}"))
                .hint("https://host/path.git, ssh://user@host/path.git and user@host:path.git are")
                .exit(ExitStatus::Usage)
        };
        if argument.chars().any(|character| character.is_control() || character.is_whitespace()) {
            return Err(refuse("it contains blanks or control characters"));
        }
        let (host, path) = match argument.split_once("://") {
            Some((scheme, rest)) => {
                let scheme = scheme.to_ascii_lowercase();
                if !matches!(scheme.as_str(), "https" | "http" | "ssh") {
                    return Err(refuse(&format!("nothing is fetched over {scheme:?}")));
                }
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
                if user.contains(':') || (scheme != "ssh" && !user.is_empty()) {
                    // Not repeated: logs of others may keep what we print.
                    return Err(Failure::new("the git URL contains a credential, which everyone who may read the run could read")
                        .exit(ExitStatus::Usage)
                        .hint("put the credential into the build plane's secret store and name a SecretReference with --secret-ref"));
                }
                (host, path)
            }
            None => scp_like(argument).ok_or_else(|| refuse("it has neither a scheme nor a host"))?,
        };
        if host.is_empty() || host.starts_with('-') || host.starts_with(':') {
            return Err(refuse("it names no host"));
        }
        let path = path.split(['?', '#']).next().unwrap_or("").trim_matches('/');
        if path.is_empty() {
            return Err(refuse("it names no repository"));
        }
        let repository = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".git").to_owned();
        Ok(Self { text: argument.to_owned(), repository })
    }

    /// The repository's own name.
    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// `user@host:path`, git's short form of ssh.
fn scp_like(argument: &str) -> Option<(&str, &str)> {
    let (authority, path) = argument.split_once(':')?;
    let (user, host) = authority.split_once('@')?;
    let plain = |text: &str| !text.is_empty() && !text.contains('/');
    (plain(user) && plain(host)).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_urls_are_taken() {
        for (url, repository) in [
            ("https://github.com/org/app.git", "app"),
            ("https://git.example:8443/a/b/c", "c"),
            ("ssh://git@example.com/org/app.git/", "app"),
            ("git@example.com:org/app.git", "app"),
            ("http://127.0.0.1:5051/default/app.git", "app"),
        ] {
            let parsed =
                GitUrl::parse(url).map(|parsed| (parsed.to_string(), parsed.repository().to_owned()));
            assert_eq!(parsed.ok(), Some((url.to_owned(), repository.to_owned())));
            assert!(GitUrl::looks_like_one(url), "{url}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        let mut refusals = String::new();
        for url in [
            "https://",
            "https:///path",
            "https://example.com",
            "https://example.com/",
            "file:///etc",
            "ext::sh -c id",
            "ext://x",
            "git://example.com/x",
            "https://user:secret@example.com/x",
            "https://token@example.com/x",
            "ssh://-oProxyCommand=id/x",
            "https://exa mple.com/x",
            "https://example.com/x\u{1b}[2J",
        ] {
            let failure = GitUrl::parse(url).expect_err(url).to_string();
            let first = failure.lines().next().unwrap_or_default();
            refusals.push_str(first);
            refusals.push('\n');
        }
        insta::assert_snapshot!(refusals);
        for path in ["./x", "../x", "/tmp/x", "x", "a:b", "C:x", "user/host:x"] {
            assert!(!GitUrl::looks_like_one(path), "{path}");
        }
    }
}
