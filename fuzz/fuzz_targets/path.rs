//! The canonical form of a path and a query is one that every reader takes in the same way.
#![no_main]

use buildplane_wire::{Attributes, CanonicalPath, CanonicalQuery};
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let Ok(query) = CanonicalQuery::parse(query) else { return };
    let Ok(path) = CanonicalPath::parse(path) else { return };

    let canonical = path.as_str();
    assert!(canonical.starts_with('/') && canonical.is_ascii(), "{canonical:?}");
    assert_eq!(
        CanonicalPath::parse(canonical).expect("canonical parses").as_str(),
        canonical,
        "a fixed point"
    );
    // What a server decodes must split into the same segments as what was judged.
    let decoded = percent_decode(canonical);
    assert_eq!(decoded.matches('/').count(), canonical.matches('/').count(), "{canonical:?}");
    for segment in decoded.split('/').skip(1) {
        assert!(segment != "." && segment != "..", "{canonical:?}");
        assert!(canonical == "/" || !segment.is_empty(), "{canonical:?}");
        assert!(!segment.contains(['\\', ';', '\0', '\n', '\r', '%']), "{canonical:?}");
    }
    assert!(!canonical.contains(['?', '#']), "{canonical:?}");

    for method in [Method::GET, Method::POST, Method::DELETE, Method::CONNECT] {
        let Ok(Attributes::Resource(resource)) = Attributes::read(&method, &path, &query) else { continue };
        // Nothing is judged that does not stand in the path.
        for part in [resource.namespace.as_deref(), resource.name.as_deref(), resource.subresource.as_deref()]
            .into_iter()
            .flatten()
        {
            assert!(path.segments().any(|segment| segment == part), "{resource:?} of {canonical:?}");
        }
    }
});

fn percent_decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("an escape is whole"));
            let digits = std::str::from_utf8(&digits).expect("ASCII").to_owned();
            decoded.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).expect("escapes are of ASCII alone")
}
