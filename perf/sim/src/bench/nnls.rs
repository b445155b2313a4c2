//! Least squares with unknowns that are not negative.

use super::service::COSTS;

/// Sweeps over all unknowns; far fewer are needed.
const SWEEPS_MAX: usize = 20_000;
/// A sweep that changes no unknown by more than this part of it was the last.
const STEP_MIN: f64 = 1e-10;

/// A row of the system: the unknowns times `factors` should be `target`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) factors: [f64; COSTS],
    pub(super) target: f64,
}

impl Row {
    /// What the unknowns make of it.
    pub(super) fn value(&self, unknowns: &[f64; COSTS]) -> f64 {
        self.factors.iter().zip(unknowns).map(|(factor, unknown)| factor * unknown).sum()
    }

    /// The same statement in another unit.
    pub(super) fn scaled(mut self, by: f64) -> Self {
        self.factors = self.factors.map(|factor| factor * by);
        self.target *= by;
        self
    }
}

/// The unknowns, none below zero, with the least sum of squares of what each row is off. They are
/// improved one at a time, which converges since the problem is convex (Franc, Hlavac and Navara
/// 2005, "Sequential coordinate-wise algorithm for the non-negative least squares problem").
pub(super) fn solve(rows: &[Row], start: [f64; COSTS]) -> [f64; COSTS] {
    let mut unknowns = start.map(|unknown| unknown.max(0.0));
    let mut errors: Vec<f64> = rows.iter().map(|row| row.value(&unknowns) - row.target).collect();
    for _ in 0..SWEEPS_MAX {
        let mut step_max = 0.0_f64;
        for (at, unknown) in unknowns.iter_mut().enumerate() {
            let square: f64 = rows.iter().map(|row| row.factors[at].powi(2)).sum();
            if square == 0.0 {
                continue;
            }
            let slopes = rows.iter().zip(&errors).map(|(row, error)| row.factors[at] * error);
            let before = *unknown;
            let after = (before - slopes.sum::<f64>() / square).max(0.0);
            let step = after - before;
            *unknown = after;
            for (error, row) in errors.iter_mut().zip(rows) {
                *error += row.factors[at] * step;
            }
            step_max = step_max.max(step.abs() / before.max(after).max(1e-3));
        }
        if step_max < STEP_MIN {
            break;
        }
    }
    unknowns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(factors: &[f64], target: f64) -> Row {
        let mut all = [0.0; COSTS];
        all[..factors.len()].copy_from_slice(factors);
        Row { factors: all, target }
    }

    #[test]
    fn a_system_with_a_solution_is_solved() {
        let rows = [row(&[1.0, 2.0, 0.0], 8.0), row(&[3.0, 1.0, 1.0], 11.0), row(&[0.0, 1.0], 3.0)];
        let found = solve(&rows, [0.0; COSTS]);
        for (found, wanted) in found.iter().zip([2.0, 3.0, 2.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-6, "{found}, {wanted}");
        }
    }

    #[test]
    fn nothing_is_below_zero_and_the_rest_makes_the_best_of_it() {
        // Without the bound it would be 4 and -2.
        let rows = [row(&[1.0, 1.0], 2.0), row(&[1.0, 2.0], 0.0)];
        let found = solve(&rows, [0.0; COSTS]);
        assert!((found[0] - 1.0).abs() < 1e-6 && found[1] == 0.0, "{found:?}");
    }

    #[test]
    fn a_row_in_another_unit_says_the_same() {
        let one = row(&[2.0, 4.0], 6.0);
        let half = one.scaled(0.5);
        assert_eq!((half.factors[1], half.target), (2.0, 3.0));
        assert_eq!(half.value(&[1.0; COSTS]), 3.0);
    }
}
