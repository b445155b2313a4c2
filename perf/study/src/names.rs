//! Hints for misspelt names.

use punctual_runtime::config::nearest;

/// What to write instead of a wrong name: the nearest one, or all that there are.
pub(crate) fn hint<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str> + Clone) -> String {
    match nearest(wrong, right.clone()) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => {
            let all: Vec<&str> = right.into_iter().collect();
            format!("known here: {}", all.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_else_all_are_listed() {
        let names = ["repeats", "sweep", "fixed"];
        assert_eq!(hint("repeat", names), "did you mean \"repeats\"?");
        assert_eq!(hint("colour", names), "known here: repeats, sweep, fixed");
    }
}
