//! Hints for misspelt names.

/// Jaro-Winkler likeness below which a hint would be a guess.
const LIKENESS_MIN: f64 = 0.8;

/// A question for the right name that is most like a wrong one; empty if none is like it at all.
pub(crate) fn hint<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str>) -> String {
    let near = nearest(wrong, right);
    near.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default()
}

/// The right name that is most like a wrong one, if any is like it at all.
fn nearest<'n>(wrong: &str, right: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    right
        .into_iter()
        .map(|name| (name, strsim::jaro_winkler(wrong, name)))
        .filter(|(_, likeness)| *likeness >= LIKENESS_MIN)
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
        .map(|(name, _)| name)
}
