//! Exact decimal numbers, read from JSON number tokens.

use std::cmp::Ordering;

/// The exact value of a JSON number, normalized so that equal values are equal structures: `1`, `1.0`
/// and `10e-1` are one value, and no digit is lost, whatever its size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    /// The digits without zeros at either end; empty for zero.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// Parses a JSON number token (RFC 8259, section 6). Returns `None` if it is none, or if its
    /// exponent does not fit 64 bits.
    pub fn parse(token: &str) -> Option<Self> {
        let (negative, token) = match token.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, token),
        };
        let (mantissa, exponent) = match token.find(['e', 'E']) {
            Some(at) => (&token[..at], token[at + 1..].parse::<i64>().ok()?),
            None => (token, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let trimmed = significant.trim_end_matches('0');
        if trimmed.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let exponent = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(i64::try_from(significant.len() - trimmed.len()).ok()?)?;
        Some(Self { negative, digits: trimmed.to_owned(), exponent })
    }

    /// Returns `true` if the value is a whole number.
    pub fn is_integer(&self) -> bool {
        self.exponent >= 0
    }

    /// The power of ten of the first digit, as a number that does not overflow.
    fn magnitude(&self) -> i128 {
        i128::from(self.exponent) + self.digits.len() as i128
    }

    fn cmp_absolute(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            // With equal magnitudes the digits compare like text: trailing zeros are cut off.
            (false, false) => {
                self.magnitude().cmp(&other.magnitude()).then_with(|| self.digits.cmp(&other.digits))
            }
        }
    }
}

impl std::fmt::Display for Decimal {
    /// Writes the digits and the power of ten, such as `-123e-2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        match self.digits.is_empty() {
            true => f.write_str("0"),
            false => write!(f, "{sign}{}e{}", self.digits, self.exponent),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => self.cmp_absolute(other),
            (true, true) => other.cmp_absolute(self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(token: &str) -> Decimal {
        Decimal::parse(token).unwrap()
    }

    #[test]
    fn neighbours_beyond_a_double_differ() {
        assert!(of("9007199254740993") > of("9007199254740992"));
        assert!(of("7635481234567891236") != of("7635481234567891235"));
        assert_eq!(of("1e400"), of("10e399"));
        assert!(of("1e400") > of("9e399") && of("-1e400") < of("-9e399"));
        assert!(of("0.1") > of("0") && of("-0.1") < of("0") && of("-0") == of("0.0"));
        assert!(of("12") > of("9") && of("120") > of("13") && of("0.05") < of("0.4"));
    }

    #[test]
    fn other_tokens_are_no_numbers() {
        for token in ["", "-", ".5", "1e", "1e99999999999999999999", "abc", "\"1\""] {
            assert!(Decimal::parse(token).is_none(), "{token}");
        }
    }

    proptest! {
        #[test]
        fn integers_compare_as_integers(a in any::<i64>(), b in any::<i64>(), zeros in 0..4_usize) {
            let (left, right) = (of(&a.to_string()), of(&format!("{b}.{}", "0".repeat(zeros + 1))));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        }
    }
}
