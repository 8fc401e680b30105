use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer};

use buildplane_api::names::{CLUSTER_SEGMENT, CrRef, PlaneKind};

/// More patterns than this are refused.
pub const MAX_PATTERNS: usize = 256;
/// A longer pattern names nothing: a namespace has at most 63 characters, a name 253.
const MAX_PART: usize = 253;
/// Stands for any text within one part.
const ANY: &str = "*";

/// The custom resources that an agent serves, as the owner of the build cluster narrows them.
///
/// The agent enforces this. It also tells the gateway, so that a custom resource outside can be told why it is not served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedPlanes {
    only: Option<Vec<PlanePattern>>,
}

/// Why a text is no pattern of custom resources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// It does not have its three parts.
    #[error("{0:?} is not of the form <kind>/<namespace|_cluster>/<name>, where * stands for any text")]
    Form(String),
    /// The kind is none of ours.
    #[error("{0:?} is no kind of plane; leave it * or write buildplane, clusterbuildplane, …")]
    Kind(String),
    /// A part holds characters that no name has.
    #[error("{0:?} can match no name")]
    Part(String),
    /// There are too many.
    #[error("there are more than {MAX_PATTERNS} patterns")]
    TooMany,
}

/// A pattern of custom resources: `<kind>/<namespace|_cluster>/<name>`, `*` standing for any text within a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanePattern {
    kind: Option<PlaneKind>,
    namespace: String,
    name: String,
}

impl AllowedPlanes {
    /// Those that match one of the patterns; none at all where there is no pattern.
    pub fn only(patterns: Vec<PlanePattern>) -> Self {
        Self { only: Some(patterns) }
    }

    /// Whether the owner narrowed it at all.
    pub fn is_narrowed(&self) -> bool {
        self.only.is_some()
    }

    /// Whether a custom resource is served.
    pub fn permits(&self, cr: &CrRef) -> bool {
        self.only.as_ref().is_none_or(|only| only.iter().any(|pattern| pattern.matches(cr)))
    }

    /// The patterns; none where everybody is served.
    pub fn patterns(&self) -> Option<&[PlanePattern]> {
        self.only.as_deref()
    }

    pub(crate) fn from_header(list: &str) -> Result<Self, InvalidPattern> {
        match list {
            ANY => Ok(Self::default()),
            "" => Ok(Self::only(Vec::new())),
            list if list.split(',').count() > MAX_PATTERNS => Err(InvalidPattern::TooMany),
            list => list.split(',').map(str::parse).collect::<Result<_, _>>().map(Self::only),
        }
    }

    pub(crate) fn to_header(&self) -> String {
        let Some(only) = &self.only else { return ANY.to_owned() };
        only.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl<'de> Deserialize<'de> for AllowedPlanes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let patterns = Option::<Vec<PlanePattern>>::deserialize(deserializer)?;
        if patterns.as_ref().is_some_and(|patterns| patterns.len() > MAX_PATTERNS) {
            return Err(de::Error::custom(InvalidPattern::TooMany));
        }
        Ok(Self { only: patterns })
    }
}

impl PlanePattern {
    /// The pattern that matches one custom resource alone.
    pub fn exactly(cr: &CrRef) -> Self {
        Self {
            kind: Some(cr.kind()),
            namespace: cr.namespace_segment().to_owned(),
            name: cr.name().to_owned(),
        }
    }

    /// Whether a custom resource matches. `*` as a namespace means any namespace, not the cluster scope.
    pub fn matches(&self, cr: &CrRef) -> bool {
        self.kind.is_none_or(|kind| kind == cr.kind())
            && (cr.namespace().is_some() || self.namespace == CLUSTER_SEGMENT)
            && glob(&self.namespace, cr.namespace_segment())
            && glob(&self.name, cr.name())
    }

    fn new(kind: &str, namespace: &str, name: &str) -> Result<Self, InvalidPattern> {
        let kind = match kind {
            ANY => None,
            kind => Some(
                kind.to_ascii_lowercase().parse().map_err(|_unknown| InvalidPattern::Kind(excerpt(kind)))?,
            ),
        };
        let possible = |part: &str| {
            !part.is_empty()
                && part.len() <= MAX_PART
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b))
        };
        for part in
            [Some(namespace).filter(|part| *part != CLUSTER_SEGMENT), Some(name)].into_iter().flatten()
        {
            if !possible(part) {
                return Err(InvalidPattern::Part(excerpt(part)));
            }
        }
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

impl FromStr for PlanePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(namespace), Some(name), None) => Self::new(kind, namespace, name),
            _ => Err(InvalidPattern::Form(excerpt(text))),
        }
    }
}

impl fmt::Display for PlanePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "{kind}/{}/{}", self.namespace, self.name),
            None => write!(f, "{ANY}/{}/{}", self.namespace, self.name),
        }
    }
}

impl<'de> Deserialize<'de> for PlanePattern {
    /// Reads `{kind, namespace, name}`, where what is absent matches anything in the kind's scope, or the text form.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            kind: Option<String>,
            #[serde(default)]
            namespace: Option<String>,
            #[serde(default)]
            name: Option<String>,
        }

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PlanePattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pattern {kind, namespace, name} or <kind>/<namespace|_cluster>/<name>")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PlanePattern, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<PlanePattern, A::Error> {
                let fields = Fields::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let kind = fields.kind.unwrap_or_else(|| ANY.to_owned());
                let is_cluster = kind.to_ascii_lowercase().starts_with("cluster");
                let scope = if is_cluster { CLUSTER_SEGMENT } else { ANY };
                let namespace = fields.namespace.filter(|namespace| !namespace.is_empty());
                PlanePattern::new(
                    &kind,
                    namespace.as_deref().unwrap_or(scope),
                    fields.name.as_deref().unwrap_or(ANY),
                )
                .map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Whether `text` matches `pattern`. Linear in both: the pieces between stars are looked for from left to right.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for piece in middle.split('*').filter(|piece| !piece.is_empty()) {
        let Some((_, after)) = text.split_once(piece) else { return false };
        text = after;
    }
    text.ends_with(last)
}

fn excerpt(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, cr, matches) in [
            ("buildplane/team/default", "buildplane/team/default", true),
            ("buildplane/team/default", "buildplane/team/other", false),
            ("buildplane/team/default", "buildplane/team-a/default", false),
            ("buildplane/team-*/*", "buildplane/team-a/default", true),
            ("buildplane/team-*/*", "buildplane/team/default", false),
            ("buildplane/*/default", "buildplane/any/default", true),
            ("buildplane/*/*", "clusterbuildplane/_cluster/default", false),
            ("*/*/*", "clusterbuildplane/_cluster/default", false),
            ("*/_cluster/*", "clusterbuildplane/_cluster/default", true),
            ("*/_cluster/*", "buildplane/team/default", false),
            ("clusterbuildplane/_cluster/*-ci", "clusterbuildplane/_cluster/eu-ci", true),
            ("clusterbuildplane/_cluster/*-ci", "clusterbuildplane/_cluster/eu-cd", false),
            ("*/a*b*c/*", "buildplane/a1b2c/x", true),
            ("*/a*b*c/*", "buildplane/a1c2b/x", false),
            ("*/a*ba/*", "buildplane/aba/x", true),
            ("*/ab*ba/*", "buildplane/aba/x", false),
            ("dataplane/*/*", "buildplane/team/default", false),
        ] {
            let parsed: PlanePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&cr.parse().unwrap()), matches, "{pattern} {cr}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn texts_that_can_match_nothing_are_refused() {
        for text in ["", "a", "a/b", "buildplane/a/b/c", "starship/a/b", "buildplane//b", "buildplane/A/b"] {
            assert!(text.parse::<PlanePattern>().is_err(), "{text}");
        }
        for text in
            ["buildplane/a b/c", "buildplane/a/b,c", "buildplane/_cluster2/b", "buildplane/a/_cluster"]
        {
            assert!(text.parse::<PlanePattern>().is_err(), "{text}");
        }
        let many = vec!["*/*/*"; MAX_PATTERNS + 1].join(",");
        assert_eq!(AllowedPlanes::from_header(&many), Err(InvalidPattern::TooMany));
    }

    #[test]
    fn configurations_name_parts_or_write_the_text() {
        let read = |json: &str| serde_json::from_str::<AllowedPlanes>(json);
        let narrowed = read(
            r#"[{"kind":"BuildPlane","namespace":"team-*"},{"kind":"ClusterBuildPlane","name":"default"},
                {"namespace":"x"},"buildplane/y/z"]"#,
        )
        .unwrap();
        let texts: Vec<String> = narrowed.patterns().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["buildplane/team-*/*", "clusterbuildplane/_cluster/default", "*/x/*", "buildplane/y/z"]
        );
        assert!(!read("null").unwrap().is_narrowed());
        let nobody = read("[]").unwrap();
        assert!(nobody.is_narrowed() && !nobody.permits(&"buildplane/a/b".parse().unwrap()));
        assert!(read(r#"[{"kind":"Pod"}]"#).is_err());
        assert!(read(r#"[{"nmae":"x"}]"#).is_err());
    }

    #[test]
    fn one_resource_alone_is_a_pattern_too() {
        for cr in ["buildplane/team/default", "clusterbuildplane/_cluster/default"] {
            let cr: CrRef = cr.parse().unwrap();
            assert!(PlanePattern::exactly(&cr).matches(&cr));
            assert_eq!(PlanePattern::exactly(&cr).to_string(), cr.to_string());
        }
    }
}
