use super::*;

fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
    out.extend_from_slice(content);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), bytes(1, &meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
}

#[test]
fn a_secret_becomes_its_json_form() {
    let metadata = [
        bytes(1, b"a"),
        bytes(2, b""),
        bytes(3, b"ns"),
        vec![7 << 3, 0],
        bytes(8, b""),
        bytes(11, &[bytes(1, b"k"), bytes(2, b"v")].concat()),
        bytes(14, b"x/y"),
    ]
    .concat();
    let raw = [
        bytes(1, &metadata),
        bytes(2, &[bytes(1, b"key"), bytes(2, b"\xff\x00")].concat()),
        bytes(3, b"Opaque"),
        vec![5 << 3, 1],
    ]
    .concat();
    assert_eq!(
        decode(&envelope("v1", "Secret", &raw)).unwrap(),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true,
            "data": {"key": "/wA="},
            "metadata": {"name": "a", "namespace": "ns", "labels": {"k": "v"}, "finalizers": ["x/y"]},
        })
    );
}

#[test]
fn times_and_lists_of_strings_are_read() {
    let lease = [bytes(1, &bytes(1, b"l")), bytes(2, &bytes(3, &[8, 60, 16, 160, 194, 30]))].concat();
    let lease = decode(&envelope("coordination.k8s.io/v1", "Lease", &lease)).unwrap();
    assert_eq!(lease["spec"]["acquireTime"], "1970-01-01T00:01:00.000500Z");
    let extra = [bytes(1, b"k"), bytes(2, &[bytes(1, b"a"), bytes(1, b"b")].concat())].concat();
    let review =
        decode(&envelope("authorization.k8s.io/v1", "SubjectAccessReview", &bytes(2, &bytes(5, &extra))));
    assert_eq!(review.unwrap()["spec"]["extra"], json!({"k": ["a", "b"]}));
}

#[test]
fn malformed_bodies_are_errors_whatever_is_cut_off() {
    let whole = envelope("v1", "Secret", &bytes(1, &bytes(1, b"a")));
    assert!(decode(&whole).is_ok());
    for end in 0..whole.len() {
        // Cutting between two fields leaves a shorter message; what matters is that nothing panics.
        drop(decode(&whole[..end]));
    }
    for body in
        [&b""[..], b"k8s", b"{}", b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"k8s\0\x0a\x7f"]
    {
        assert!(decode(body).is_err(), "{body:?}");
    }
    assert!(matches!(decode(&envelope("v9", "Thing", b"")), Err(ProtobufError::Unknown { .. })));
}
