//! The wire format of protobuf, as far as Kubernetes uses it.

/// A field's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers, which no message read here has.
    Fixed,
}

/// The fields of a message in order; an item is `None`, and the last, where the bytes are malformed.
pub(crate) fn fields(bytes: &[u8]) -> impl Iterator<Item = Option<(u64, Scalar<'_>)>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field)
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Scalar<'a>)> {
    let tag = varint(rest)?;
    let scalar = match tag & 7 {
        0 => Scalar::Varint(varint(rest)?),
        1 => take(rest, 8).map(|_| Scalar::Fixed)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Scalar::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Scalar::Fixed)?,
        _ => return None,
    };
    Some((tag >> 3, scalar))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
