//! Names that people type: enums with one text for each variant, and hints for misspelt ones.

use super::TextError;

/// Jaro-Winkler likeness below which a hint would be a guess.
const LIKENESS_MIN: f64 = 0.8;

/// The right name that is most like a wrong one, if any is like it at all.
#[must_use]
pub fn nearest<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    right
        .into_iter()
        .map(|name| (name, strsim::jaro_winkler(wrong, name)))
        .filter(|(_, likeness)| *likeness >= LIKENESS_MIN)
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .map(|(name, _)| name)
}

/// The error of a text that is none of `names`.
pub(super) fn not_one_of(text: &str, names: &[&str]) -> TextError {
    let hint = nearest(text, names.iter().copied())
        .map(|name| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default();
    TextError(format!("is not one of {}{hint}", names.join(", ")))
}

/// Gives an enum its names: `ALL`, `name`, `Display` and `FromStr` from one table.
macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant, in the order in which messages list them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in configuration files and reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::config::TextError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|choice| choice.name() == text)
                    .ok_or_else(|| crate::config::names::not_one_of(text, &[$($name),+]))
            }
        }
    };
}
pub(super) use named;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["shards", "sessions_max", "store_bytes_max"];
        assert_eq!(nearest("shard", names), Some("shards"));
        assert_eq!(nearest("store_max", names), Some("store_bytes_max"));
        assert_eq!(nearest("colour", names), None);
    }
}
