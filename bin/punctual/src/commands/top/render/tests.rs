//! Screens as they are drawn, without a terminal.

use super::*;
use crate::commands::top::view::TaskList;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::KeyCode;
use serde_json::{Value, json};

/// A farm with so many workers.
fn farm(workers: usize) -> Look {
    let worker = |at: usize| {
        json!({
            "name": format!("node{at}"), "state": "busy", "slots": 4, "running": at % 5,
            "memory_bytes": 8_u64 << 30, "memory_free_bytes": 3_u64 << 30, "cores": 4.0,
            "cores_used": 2.5, "done": 10, "failed": at, "mean_ns": 2_000_000, "heard_ns": 0,
        })
    };
    let workers: Vec<Value> = (0..workers).map(worker).collect();
    let summary = json!({
        "schema": 1, "title": "a farm", "now_ns": 60_000_000_000_i64,
        "tasks": {
            "error": null, "total": 1_000, "unfinished": 400,
            "counts": {"ready": 390, "running": 10, "done": 598, "failed": 2},
            "rates_1s": {"submitted": 0.0, "done": 12.34, "failed": 0.1},
            "rates_10s": {"submitted": 0.0, "done": 9.9, "failed": 0.1},
            "run_ns": 2_000_000, "wait_ns": 39_000_000_000_u64,
            "waits_10s": {"count": 9, "p50_ns": 1_500_000, "p90_ns": 0, "p99_ns": 7_000_000},
            "leases_10s": null,
            "jobs": [{"id": 0, "name": "sweep", "opened_ns": 0, "tasks": 1_000,
                      "counts": {"ready": 390, "running": 10, "done": 598, "failed": 2}}],
            "jobs_total": 1, "workers": workers, "workers_total": workers.len(),
        },
        "engine": null, "blocks": [], "delays": [],
    });
    let task = json!({
        "id": "17", "job": "sweep", "state": "running", "command": "./train --lr 0.1",
        "worker": "node0", "attempt": 1, "leased_ns": 58_000_000_000_i64,
    });
    let list: TaskList =
        serde_json::from_value(json!({"tasks": [task], "next": null})).expect("a page");
    Look { tasks: Some(Ok(list)), ..Look::read(summary.to_string().as_bytes()).expect("one") }
}

fn engine() -> Look {
    let summary = json!({
        "schema": 1, "title": "shards", "now_ns": 1, "tasks": null,
        "engine": {"rate_1s": 250_000.0, "in_flight": 64, "latency_ns": 256_000},
        "blocks": [
            {"name": "shard0", "kind": "shard", "rate_1s": 125_000.0,
             "counters": {"held": 3, "links_opened": 5, "links_closed": 1, "committed": 1_000_000}},
            {"name": "worker0", "kind": "coordinator", "rate_1s": 250_000.0,
             "counters": {"in_flight": 64, "committed": 2_000_000}},
        ],
        "delays": [{"shard": 0, "is_up": true, "estimate_ns": 90_000, "min_ns": -40_000,
                    "p50_ns": 80_000, "p99_ns": null, "rtt_min_ns": 150_000, "sent": 9, "lost": 1}],
    });
    Look::read(summary.to_string().as_bytes()).expect("a summary")
}

/// A state after some keys.
fn after(keys: &[KeyCode], look: &Look) -> State {
    let (mut state, panes) = (State::default(), Pane::of(&look.summary));
    state.keep_to(&panes);
    for key in keys {
        state.on_key((*key).into(), &panes);
    }
    state
}

/// The rows of a screen of this size.
fn drawn(scene: &Scene<'_>, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    let draw = |frame: &mut ratatui::Frame<'_>| {
        let area = frame.area();
        let text = ratatui::text::Text::from(lines(scene, area.width, area.height));
        frame.render_widget(text, area);
    };
    terminal.draw(draw).expect("nothing can fail there");
    let cells = terminal.backend().buffer().content();
    let row = |cells: &[ratatui::buffer::Cell]| -> String {
        cells.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    cells.chunks(usize::from(width)).map(|cells| row(cells).trim_end().to_owned()).collect()
}

/// The screen of something that was seen, after some keys.
fn screen(look: &Look, keys: &[KeyCode], width: u16, height: u16) -> Vec<String> {
    let (state, mut trend) = (after(keys, look), Trend::default());
    trend.push(&look.summary);
    drawn(&Scene { look: Some(look), trouble: None, trend: &trend, state: &state }, width, height)
}

fn has(rows: &[String], part: &str) -> bool {
    rows.iter().any(|row| row.contains(part))
}

#[test]
fn a_wide_screen_shows_a_farm_its_curves_and_its_running_tasks() {
    let rows = screen(&farm(2), &[], 120, 30);
    assert_eq!(rows[0], "a farm  live");
    assert_eq!(
        rows[1],
        "1,000 tasks: 390 ready, 10 running, 598 done, 2 failed; about 40.0 s left"
    );
    assert_eq!(rows[2], "a second  done 12  failed 0.1  submitted 0");
    assert_eq!(
        rows[3],
        "times     wait 1.50 ms (99 %: 7.00 ms)  out -  mean run 2.00 ms  wait ahead 39.0 s"
    );
    assert_eq!(rows[4], "rate      █");
    assert_eq!(rows[6], " Tasks   Jobs   Workers");
    assert!(rows[7].starts_with("id  state    for     worker  tries  job    task"), "{rows:#?}");
    assert!(rows[8].starts_with("17  running  2.00 s  node0   1      sweep  ./train"), "{rows:#?}");
    assert_eq!(rows[29], "q: end  Tab: next  ?: help  f: running  s: as told");
}

#[test]
fn a_narrow_screen_has_the_figures_a_table_and_the_keys() {
    let rows = screen(&farm(2), &[KeyCode::Tab, KeyCode::Tab], 40, 12);
    assert_eq!(rows.len(), 12);
    assert!(rows[1].starts_with("1,000 tasks: 390 ready, 10 running"), "{rows:#?}");
    assert!(!has(&rows, "█"), "there is no room for curves");
    assert!(has(&rows, "worker  state") && has(&rows, "node0   busy"), "{rows:#?}");
    assert!(rows[11].starts_with("q: end"), "{rows:#?}");
}

#[test]
fn a_screen_of_any_size_is_filled_and_not_overfilled() {
    let (farm, engine) = (farm(300), engine());
    for look in [&farm, &engine] {
        let keys: [&[KeyCode]; 3] =
            [&[], &[KeyCode::Char('?')], &[KeyCode::Tab, KeyCode::PageDown]];
        for keys in keys {
            let (state, trend) = (after(keys, look), Trend::default());
            for (width, height) in [(0, 0), (1, 1), (3, 2), (40, 6), (200, 100), (9, 500)] {
                let scene =
                    Scene { look: Some(look), trouble: Some("gone"), trend: &trend, state: &state };
                assert_eq!(lines(&scene, width, height).len(), usize::from(height));
            }
        }
    }
}

#[test]
fn all_of_many_workers_can_be_reached_and_the_names_of_columns_stay() {
    let look = farm(300);
    let first = screen(&look, &[KeyCode::Tab, KeyCode::Tab], 100, 20);
    assert!(has(&first, "node0 ") && !has(&first, "node299"), "{first:#?}");
    let mut keys = vec![KeyCode::Tab, KeyCode::Tab];
    keys.extend([KeyCode::PageDown; 40]);
    let last = screen(&look, &keys, 100, 20);
    assert!(has(&last, "node299") && has(&last, "worker "), "{last:#?}");
    assert!(!has(&last, "node0 "), "{last:#?}");
    keys.truncate(2);
    keys.extend([KeyCode::Char('s'); 3]);
    let sorted = screen(&look, &keys, 100, 20);
    assert!(has(&sorted, "node299") && has(&sorted, "s: failures"), "{sorted:#?}");
}

#[test]
fn nobody_gets_further_down_than_there_is_something_to_see() {
    let (look, trend) = (farm(300), Trend::default());
    let engine = engine();
    let cases: [(&Look, &[KeyCode], (u16, u16)); 4] = [
        (&look, &[KeyCode::Tab, KeyCode::Tab], (100, 20)),
        (&look, &[KeyCode::Tab], (100, 20)),
        (&engine, &[], (100, 9)),
        (&engine, &[], (0, 0)),
    ];
    for (look, keys, (width, height)) in cases {
        let mut state = after(keys, look);
        let mut rows = Vec::new();
        for scroll in [0, usize::MAX] {
            state.scroll = scroll;
            let scene = Scene { look: Some(look), trouble: None, trend: &trend, state: &state };
            let most = scroll_max(&scene, width, height);
            state.scroll = scroll.min(most);
            let scene = Scene { look: Some(look), trouble: None, trend: &trend, state: &state };
            rows.push(lines(&scene, width, height));
            // One less shows something else, so a key is never without effect.
            if state.scroll > 0 && height > 0 {
                state.scroll -= 1;
                let scene = Scene { look: Some(look), trouble: None, trend: &trend, state: &state };
                assert_ne!(lines(&scene, width, height), rows[1], "{most} of {keys:?}");
            }
        }
        let fits = keys.len() == 1 || height == 0;
        assert_eq!(rows[0] == rows[1], fits, "{keys:?} {width} x {height}");
    }
}

#[test]
fn an_engine_is_shown_with_its_parts_and_its_delays() {
    let look = engine();
    let rows = screen(&look, &[], 140, 24);
    assert_eq!(rows[1], "250,000 a second  64 in flight  mean time 256 us");
    assert!(has(&rows, "shard   a second  held  links"), "{rows:#?}");
    assert!(has(&rows, "shard0  125,000   3     4      1,000,000"), "{rows:#?}");
    assert!(has(&rows, "worker0      250,000   64         256 us"), "{rows:#?}");
    let rows = screen(&look, &[KeyCode::Tab], 140, 24);
    assert!(has(&rows, "0      up    90.0 us   -40.0 us  80.0 us  -"), "{rows:#?}");
}

#[test]
fn before_anything_is_seen_and_when_it_is_gone_the_screen_says_so() {
    let (state, trend) = (State::default(), Trend::default());
    let scene = Scene { look: None, trouble: None, trend: &trend, state: &state };
    assert_eq!(drawn(&scene, 60, 5)[0], "looking ...");
    let trouble = Some("no task server answers\nat all");
    let rows = drawn(&Scene { trouble, ..scene }, 80, 5);
    assert_eq!(rows[0], "not connected, trying again (no task server answers\\nat all)");
    let look = farm(1);
    let rows = drawn(&Scene { look: Some(&look), trouble, trend: &trend, state: &state }, 80, 20);
    assert!(rows[0].starts_with("a farm  not connected, trying again"), "{rows:#?}");
    assert!(has(&rows, "./train"), "what was seen last stays: {rows:#?}");
}

#[test]
fn what_is_typed_and_what_is_explained_is_shown() {
    let look = farm(1);
    let typing = ['/', 'l', 'r'].map(KeyCode::Char);
    let rows = screen(&look, &typing, 80, 20);
    assert!(rows[19].starts_with("tasks with: lr_"), "{rows:#?}");
    let typed = [&typing[..], &[KeyCode::Enter]].concat();
    let rows = screen(&look, &typed, 80, 20);
    assert!(rows[19].contains("/: lr (Esc: all)"), "{rows:#?}");
    let rows = screen(&look, &[KeyCode::Char('?')], 80, 30);
    assert!(has(&rows, "only tasks with this text") && !has(&rows, "./train"), "{rows:#?}");
}

#[test]
fn as_text_there_are_all_parts_one_after_the_other() {
    let shown = text(&farm(2));
    for part in ["a farm\n", "\nid  state", "./train --lr 0.1\n", "\njob    done", "\nworker"] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    let shown = text(&engine());
    for part in ["shards\n250,000 a second", "\nshard ", "\ncoordinator", "\nshard  link"] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
}
