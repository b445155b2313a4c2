//! Lists of cores, as the kernel writes them.

/// More cores than any kernel is built for; bounds what a nonsensical list can ask for.
const CORES_MAX: usize = 1 << 13;

/// The cores that the calling thread may run on, in order. Read it before pinning: a pinned thread
/// sees only its own core.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.into_iter().map(|core| core.id).collect()
}

/// Binds the calling thread to a core; whether that worked.
#[must_use]
pub fn pin_current(core: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: core })
}

/// Reads a list such as `0-3,8`. Parts that are no cores, such as `(null)`, are left out.
#[must_use]
pub fn parse_core_list(text: &str) -> Vec<usize> {
    let mut cores: Vec<usize> = text
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) =
                (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (last < CORES_MAX).then_some(first..=last)
        })
        .flatten()
        .collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

/// Writes sorted cores as `0-3,8`; empty for none.
#[must_use]
pub fn show_core_list(cores: &[usize]) -> String {
    let runs = cores.chunk_by(|left, right| left + 1 == *right);
    let parts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [core] => core.to_string(),
            [] => String::new(),
        })
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_core_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_core_list("5"), [5]);
        for text in ["", "\n", "(null)", "3-1", "0-99999999999"] {
            assert!(parse_core_list(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn lists_are_shown_as_they_are_read() {
        for text in ["", "0", "0-1", "0-3,8", "0,2,4-6"] {
            assert_eq!(show_core_list(&parse_core_list(text)), text);
        }
    }
}
