//! `/openapi/v2`, as little of it as kubectl still reads.
//!
//! kubectl asks the version 3 documents about every kind but one: for a `v1 List`, which no path serves, it asks this
//! document whether patching a Namespace knows `fieldValidation`, and refuses to apply the list when it gets no answer.
//! It reads the document as protobuf alone, so that is what there is. The field numbers are those of gnostic's
//! `openapi.v2.Document`.

use bytes::Bytes;

/// What kubectl sends as `Accept`.
pub(super) const ACCEPTED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What it gets as `Content-Type`: the `@` of the other is no token, and Go refuses to read it.
pub(super) const MEDIA_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document with one path: the patch of a Namespace.
pub(super) fn document() -> Bytes {
    let query = message(&[text(2, "query"), text(4, "fieldValidation"), text(6, "string")]);
    let parameter = nested(1, &nested(2, &nested(3, &query)));
    let kind = message(&[
        text(1, "x-kubernetes-group-version-kind"),
        nested(2, &text(2, "group: \"\"\nkind: Namespace\nversion: v1\n")),
    ]);
    let patch = message(&[nested(8, &parameter), nested(13, &kind)]);
    let served = message(&[text(1, "/api/v1/namespaces/{name}"), nested(2, &nested(8, &patch))]);
    let info = message(&[text(1, "Kubernetes"), text(2, crate::discovery::GIT_VERSION)]);
    message(&[text(1, "2.0"), nested(2, &info), nested(8, &nested(2, &served))]).into()
}

fn message(fields: &[Vec<u8>]) -> Vec<u8> {
    fields.concat()
}

fn text(field: u8, value: &str) -> Vec<u8> {
    nested(field, value.as_bytes())
}

/// A length-delimited field; the numbers used here all fit into one byte of tag.
fn nested(field: u8, value: &[u8]) -> Vec<u8> {
    const LENGTH_DELIMITED: u8 = 2;
    let mut out = vec![field << 3 | LENGTH_DELIMITED];
    let mut length = value.len();
    while length > 0x7f {
        out.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or_default());
    out.extend_from_slice(value);
    out
}
