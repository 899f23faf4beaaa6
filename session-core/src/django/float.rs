//! How Python prints a floating-point number.

/// Appends what Python's `repr` gives: the shortest digits that are read back as the same number, with an exponent only
/// below 1e-4 and from 1e16 on. The number is finite.
pub(super) fn write(number: f64, text: &mut Vec<u8>) {
    // Rust prints the same digits, as `-d.ddde-7`.
    let printed = format!("{number:e}");
    let (mantissa, exponent) = printed.split_once('e').unwrap_or((&printed, "0"));
    let exponent = exponent.parse::<i32>().unwrap_or_default();
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let (first, others) = mantissa.split_once('.').unwrap_or((mantissa, ""));

    text.extend_from_slice(sign.as_bytes());
    match exponent {
        0..16 => {
            let before_point = usize::try_from(exponent).unwrap_or_default();
            let whole = others.len().min(before_point);
            let (whole, fraction) = others.split_at_checked(whole).unwrap_or((others, ""));
            text.extend_from_slice(first.as_bytes());
            text.extend_from_slice(whole.as_bytes());
            text.extend(std::iter::repeat_n(b'0', before_point - whole.len()));
            text.push(b'.');
            let fraction = if fraction.is_empty() { "0" } else { fraction };
            text.extend_from_slice(fraction.as_bytes());
        }
        -4..0 => {
            let zeros = usize::try_from(-1 - exponent).unwrap_or_default();
            text.extend_from_slice(b"0.");
            text.extend(std::iter::repeat_n(b'0', zeros));
            text.extend_from_slice(first.as_bytes());
            text.extend_from_slice(others.as_bytes());
        }
        _ => {
            text.extend_from_slice(mantissa.as_bytes());
            let sign = if exponent < 0 { '-' } else { '+' };
            text.extend_from_slice(format!("e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
        }
    }
}
