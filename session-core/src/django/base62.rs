//! How Django spells the time in a signature: unix seconds in base 62.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Appends `number`, most significant digit first.
pub(super) fn write(number: i64, text: &mut String) {
    if number < 0 {
        text.push('-');
    }
    let mut rest = number.unsigned_abs();
    // The largest number has eleven digits.
    let mut reversed = [b'0'; 11];
    let mut len = 0;
    for place in &mut reversed {
        let digit = usize::try_from(rest % 62).unwrap_or_default();
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        rest /= 62;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    text.extend(
        reversed
            .iter()
            .take(len)
            .rev()
            .map(|digit| char::from(*digit)),
    );
}

/// The number, or the nearest one that an `i64` can hold. `None` for what Python refuses.
pub(super) fn read(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    let mut number = 0_i64;
    for byte in digits {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        let digit = i64::try_from(digit).ok()?;
        number = number.saturating_mul(62).saturating_add(digit);
    }
    Some(if is_negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: i64) -> String {
        let mut text = String::new();
        write(number, &mut text);
        text
    }

    #[test]
    fn numbers_are_spelled_as_django_spells_them() {
        for (number, text) in [
            (0, "0"),
            (9, "9"),
            (10, "A"),
            (35, "Z"),
            (36, "a"),
            (61, "z"),
            (62, "10"),
            (3_843, "zz"),
            (3_844, "100"),
            (1_767_323_045, "1vbVSP"),
            (i64::MAX, "AzL8n0Y58m7"),
            (-1, "-1"),
            (-62, "-10"),
            (-1_767_323_045, "-1vbVSP"),
        ] {
            assert_eq!(written(number), text);
            assert_eq!(read(text.as_bytes()), Some(number), "{text}");
        }
        assert_eq!(read(written(i64::MIN).as_bytes()), Some(-i64::MAX));
    }

    #[test]
    fn a_time_beyond_all_bounds_does_not_overflow() {
        assert_eq!(read(b"LygHa16AHYG"), Some(i64::MAX));
        assert_eq!(read(&[b'z'; 4096]), Some(i64::MAX));
        let mut negative = vec![b'z'; 4096];
        negative.insert(0, b'-');
        assert_eq!(read(&negative), Some(-i64::MAX));
    }

    #[test]
    fn what_is_not_base_62_is_no_number() {
        for bad in ["", "!!", "1_2", " 1", "1\n", "--1", "é"] {
            assert_eq!(read(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
