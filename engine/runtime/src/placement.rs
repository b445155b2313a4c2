//! Which agent lives on which core.

use crate::config::{CoreList, Placement};
use crate::engine::EngineError;

/// The agents of the cluster that there are cores for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agents {
    /// Shards of the cluster, wherever they run.
    pub(crate) shards: usize,
    /// Coordinator workers of a process.
    pub(crate) workers: usize,
    /// Whether shards run in this process.
    pub(crate) shards_here: bool,
    /// Whether workers do.
    pub(crate) workers_here: bool,
    /// Whether a prober does.
    pub(crate) prober_here: bool,
    /// Whether some of those shards have journals.
    pub(crate) journals_here: bool,
}

/// The core of each shard of the cluster, of each coordinator worker, of the prober and of what
/// writes the journal of each shard; none for those that run in other processes only, and none for
/// what the scheduler may place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) shards: Vec<usize>,
    pub(crate) workers: Vec<usize>,
    pub(crate) prober: Option<usize>,
    pub(crate) journals: Vec<usize>,
}

/// Places agents on the allowed cores.
///
/// Where there are enough cores every agent has its own. Else shards share the first ones and
/// workers the last ones, split in proportion, at least one each; on a single core all live
/// together in one loop. The prober has a core that is left over, or shares that of the first
/// worker: it is seldom busy. The split does not depend on what else this process runs, so that a
/// process of shards and a process of workers on the same machine stay out of each other's way by
/// default. Cores for agents of other processes are not judged by the mask of this one.
pub(crate) fn plan(
    wanted: &Placement,
    allowed: &[usize],
    agents: Agents,
) -> Result<Plan, EngineError> {
    let (first, last) = split(allowed, agents.shards, agents.workers);
    let shards = if agents.shards_here { agents.shards } else { 0 };
    let workers = if agents.workers_here { agents.workers } else { 0 };
    let shards = place("shards", &wanted.shards, allowed, first, shards)?;
    let workers = place("coordinators", &wanted.coordinators, allowed, last, workers)?;
    let prober = match wanted.prober {
        _ if !agents.prober_here => None,
        Some(core) if !allowed.contains(&core) => {
            return Err(EngineError::CoreNotAllowed {
                who: "prober",
                core,
                allowed: allowed.to_vec(),
            });
        }
        Some(core) => Some(core),
        None => {
            let left = allowed.iter().skip(agents.shards + agents.workers);
            let mut free = left.filter(|core| !shards.contains(core) && !workers.contains(core));
            free.next().or(workers.first()).or(allowed.first()).copied()
        }
    };
    let journals = match &wanted.journal {
        CoreList::Cores(_) if agents.journals_here => {
            place("journal", &wanted.journal, allowed, &[], agents.shards)?
        }
        _ => Vec::new(),
    };
    Ok(Plan { shards, workers, prober, journals })
}

/// The cores for shards and those for workers.
fn split(allowed: &[usize], shards: usize, workers: usize) -> (&[usize], &[usize]) {
    let cores = allowed.len();
    if cores < 2 {
        return (allowed, allowed);
    }
    let agents = (shards + workers).max(1);
    let for_shards =
        if cores >= agents { shards.max(1) } else { (cores * shards + agents / 2) / agents };
    allowed.split_at(for_shards.clamp(1, cores - 1))
}

fn place(
    who: &'static str,
    wanted: &CoreList,
    allowed: &[usize],
    default: &[usize],
    count: usize,
) -> Result<Vec<usize>, EngineError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let cores = match wanted {
        CoreList::Auto => default,
        CoreList::Cores(cores) => cores,
    };
    if let Some(core) = cores.iter().find(|core| !allowed.contains(core)) {
        return Err(EngineError::CoreNotAllowed { who, core: *core, allowed: allowed.to_vec() });
    }
    if cores.is_empty() {
        return Err(EngineError::NoCores { who });
    }
    Ok(cores.iter().copied().cycle().take(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(allowed: &[usize], shards: usize, workers: usize) -> Plan {
        plan(&Placement::default(), allowed, all_here(shards, workers)).unwrap()
    }

    fn all_here(shards: usize, workers: usize) -> Agents {
        Agents {
            shards,
            workers,
            shards_here: true,
            workers_here: true,
            prober_here: true,
            journals_here: true,
        }
    }

    #[test]
    fn two_cores_are_one_for_shards_and_one_for_coordinators() {
        for (shards, workers) in [(1, 1), (2, 1), (3, 1), (1, 4)] {
            let plan = auto(&[0, 1], shards, workers);
            assert!(plan.shards.iter().all(|core| *core == 0), "{plan:?}");
            assert!(plan.workers.iter().all(|core| *core == 1), "{plan:?}");
        }
    }

    #[test]
    fn with_enough_cores_nobody_shares() {
        let plan = auto(&[4, 5, 6, 7, 8], 3, 2);
        assert_eq!((plan.shards, plan.workers), (vec![4, 5, 6], vec![7, 8]));
        assert_eq!((plan.prober, plan.journals), (Some(7), vec![]));
    }

    #[test]
    fn a_single_core_holds_everything() {
        let plan = auto(&[3], 2, 1);
        assert_eq!((plan.shards, plan.workers, plan.prober), (vec![3, 3], vec![3], Some(3)));
    }

    #[test]
    fn too_few_cores_are_split_in_proportion() {
        let plan = auto(&[0, 1, 2, 3], 6, 2);
        assert_eq!(plan.shards, [0, 1, 2, 0, 1, 2]);
        assert_eq!(plan.workers, [3, 3]);
    }

    #[test]
    fn a_core_outside_the_mask_is_refused_by_name() {
        let wanted = Placement { shards: CoreList::Cores(vec![9]), ..Placement::default() };
        let error = plan(&wanted, &[0, 1], all_here(1, 1)).unwrap_err().to_string();
        assert!(error.contains("core 9") && error.contains("[0, 1]"), "{error}");
    }

    #[test]
    fn cores_for_agents_of_other_processes_are_neither_judged_nor_taken() {
        let wanted = Placement { shards: CoreList::Cores(vec![9]), ..Placement::default() };
        let agents = Agents { shards_here: false, ..all_here(1, 1) };
        let plan = plan(&wanted, &[0, 1], agents).unwrap();
        assert_eq!((plan.shards, plan.workers, plan.prober), (vec![], vec![1], Some(1)));
    }

    #[test]
    fn the_prober_has_a_core_of_its_own_where_one_is_left_and_nobody_else_was_put_there() {
        assert_eq!(auto(&[4, 5, 6, 7], 2, 1).prober, Some(7));
        let wanted = Placement { shards: CoreList::Cores(vec![7, 6]), ..Placement::default() };
        let plan = plan(&wanted, &[4, 5, 6, 7, 8], all_here(2, 1)).unwrap();
        assert_eq!((plan.workers, plan.prober), (vec![6], Some(8)));
    }

    #[test]
    fn writers_of_journals_are_left_to_the_scheduler_or_pinned_where_there_are_any() {
        assert_eq!(auto(&[0, 1], 2, 1).journals, Vec::<usize>::new());
        let wanted = |cores| Placement { journal: CoreList::Cores(cores), ..Placement::default() };
        let journals = |plan: Plan| plan.journals;
        let agents = all_here(3, 1);
        let planned = plan(&wanted(vec![1, 0]), &[0, 1], agents).map(journals);
        assert_eq!(planned.unwrap(), [1, 0, 1]);
        let error = plan(&wanted(vec![9]), &[0, 1], agents).unwrap_err().to_string();
        assert!(error.contains("core 9 in placement.journal"), "{error}");
        let none = Agents { journals_here: false, ..agents };
        assert!(plan(&wanted(vec![9]), &[0, 1], none).unwrap().journals.is_empty());
    }

    #[test]
    fn the_prober_is_where_it_is_told_to_be_or_nowhere() {
        let wanted = Placement { prober: Some(1), ..Placement::default() };
        assert_eq!(plan(&wanted, &[0, 1], all_here(1, 1)).unwrap().prober, Some(1));
        let none = Agents { prober_here: false, ..all_here(1, 1) };
        assert_eq!(plan(&wanted, &[0, 1], none).unwrap().prober, None);
        let error = plan(&wanted, &[0], all_here(1, 1)).unwrap_err().to_string();
        assert!(error.contains("core 1 in placement.prober"), "{error}");
    }
}
