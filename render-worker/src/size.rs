//! Sizes as people write them: `20GB`, `500 MB`, `0`.

/// The units, of which each is a thousand of the one before it.
const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];

/// Bytes of a size such as `20GB`; units are decimal, with or without the B.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size such as 20GB or 500MB");
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix('B').unwrap_or(&unit);
    let power = UNITS
        .iter()
        .position(|name| *name == unit)
        .ok_or_else(wrong)?;
    number
        .checked_mul(1000u64.pow(power as u32))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse("20GB"), Ok(20_000_000_000));
        assert_eq!(parse(" 500 mb"), Ok(500_000_000));
        assert_eq!(parse("3T"), Ok(3_000_000_000_000));
        assert_eq!(parse("7B"), Ok(7));
        assert_eq!(parse("0"), Ok(0));
        for wrong in ["", "GB", "-1GB", "1.5GB", "20GiB", "99999999999T"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
