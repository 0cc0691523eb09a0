//! Options as IPv4 and TCP list them (RFC 791, 3.1; RFC 9293, 3.2).

use crate::verdict::DropReason;

/// The next option of `rest`, from its kind on: at least kind and length. `None` behind the last
/// one; "no operation" is passed over.
///
/// # Errors
/// `malformed` for an option that is cut off or has no right length, and for an end of the list that
/// anything but zeros follows.
#[inline]
pub(super) fn next_option<'a>(
    rest: &mut &'a [u8],
    malformed: DropReason,
) -> Result<Option<&'a [u8]>, DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    while let [kind, tail @ ..] = *rest {
        match *kind {
            END if tail.iter().any(|byte| *byte != 0) => return Err(malformed),
            END => return Ok(None),
            NO_OPERATION => {
                *rest = tail;
                continue;
            }
            _ => {}
        }
        let len = usize::from(*tail.first().ok_or(malformed)?);
        if len < 2 {
            return Err(malformed);
        }
        let (option, tail) = rest.split_at_checked(len).ok_or(malformed)?;
        *rest = tail;
        return Ok(Some(option));
    }
    Ok(None)
}
