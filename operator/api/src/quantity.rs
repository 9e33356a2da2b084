//! Quantities as Kubernetes writes them: `10Gi`, `500m`, `1e3`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{Schema, SchemaGenerator, json_schema};

const DECIMAL: [(&str, i32); 10] = [
    ("", 0),
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The value in billionths, which every quantity is a whole number of; `None` when it is no quantity, negative or
/// too large to mean anything.
///
/// Grammar: `k8s.io/apimachinery/pkg/api/resource`, the comment on `Quantity`.
pub fn nanos(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.strip_prefix('+').unwrap_or(&quantity.0);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    // A number of `fraction.len()` decimals, in billionths.
    let scale = 9 - i32::try_from(fraction.len()).ok()?;
    if let Some(power) = BINARY.iter().position(|binary| *binary == suffix) {
        let factor = 1024_u128.checked_pow(u32::try_from(power).ok()? + 1)?;
        return scaled(digits.checked_mul(factor)?, scale);
    }
    let exponent = match suffix.strip_prefix(['e', 'E']) {
        Some(exponent) if !exponent.is_empty() => exponent.parse::<i8>().ok()?.into(),
        _ => DECIMAL.iter().find(|(name, _)| *name == suffix)?.1,
    };
    scaled(digits, scale + exponent)
}

/// The value in whole units (bytes, of a size), rounded up as Kubernetes does.
pub fn whole(quantity: &Quantity) -> Option<u128> {
    nanos(quantity).map(|nanos| nanos.div_ceil(1_000_000_000))
}

fn scaled(digits: u128, exponent: i32) -> Option<u128> {
    let factor = 10_u128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 {
        digits.checked_mul(factor)
    } else {
        Some(digits.div_ceil(factor))
    }
}

/// The schema of a size. A string alone, not upstream's integer or string: CEL can compare it without a cast.
pub(crate) fn size_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 24 })
}

/// The schema of a map of quantities, without upstream's 3 KB of documentation.
pub(crate) fn map_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u128> {
        nanos(&Quantity(text.into()))
    }

    #[test]
    fn every_suffix_scales() {
        let one = 1_000_000_000_u128;
        let table = [
            ("1", one),
            ("+1", one),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("1.", one),
            ("1n", 1),
            ("1u", 1_000),
            ("500m", one / 2),
            ("1k", one * 1_000),
            ("1M", one * 1_000_000),
            ("1Ki", one * 1024),
            ("1.5Gi", one * 1024 * 1024 * 1536),
            ("1e3", one * 1_000),
            ("1E3", one * 1_000),
            ("1e-3", 1_000_000),
            ("1E", one * 1_000_000_000_000_000_000),
            ("0.1n", 1),
        ];
        for (text, nanos) in table {
            assert_eq!(of(text), Some(nanos), "{text}");
        }
        assert_eq!(whole(&Quantity("1500m".into())), Some(2));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in [
            "",
            ".",
            "-1",
            "1 Gi",
            "1GB",
            "Gi",
            "1.2.3",
            "1e",
            "1e99",
            "ten",
            "1.0000000001",
            "999999999999999999999999999999999999999999",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
