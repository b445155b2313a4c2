//! The original's `conf.json`.

use punctual_taskfile::{ConfError, OriginalConf};
use std::time::Duration;

const GIB: u64 = 1 << 30;

#[test]
fn every_setting_of_the_original_and_its_forks_has_its_place() {
    let text = r#"{
        "min_dram_gb_accept_new_task": 4,
        "min_dram_gb_trigger_return": 3,
        "sleep_sec_between_accepting_task": 1,
        "health_report_interval": 5,
        "max_task_per_worker": 8,
        "max_retry_per_task": 2,
        "result_dir": "/results",
        "redis_host": "10.0.0.1",
        "redis_port": 6379,
        "redis_pass": "secret",
        "redis_db": 3,
        "auto_sleep_sec": 10,
        "default_task_timeout_seconds": 3600,
        "task_timeout_check_interval": 30
    }"#;
    let expected = OriginalConf {
        accept_free: 4 * GIB,
        return_free: 3 * GIB,
        sleep_between_tasks: Duration::from_secs(1),
        report_interval: Duration::from_secs(5),
        tasks_max: 8,
        attempts_max: 2,
        task_timeout: Some(Duration::from_secs(3600)),
        unknown: Vec::new(),
    };
    assert_eq!(OriginalConf::parse(text).unwrap(), expected);
    assert!(expected.warnings().is_empty());
}

#[test]
fn what_is_missing_is_as_in_the_file_of_the_original() {
    let conf = OriginalConf::parse("{}").unwrap();
    assert_eq!(conf, OriginalConf::default());
    assert_eq!((conf.accept_free, conf.return_free), (80 * GIB, 40 * GIB));
    assert_eq!((conf.tasks_max, conf.attempts_max), (32, 4));
    assert_eq!((conf.sleep_between_tasks, conf.task_timeout), (Duration::from_secs(2), None));
    let nulls = r#"{"redis_host": null, "max_task_per_worker": null}"#;
    assert_eq!(OriginalConf::parse(nulls).unwrap(), conf);
}

#[test]
fn numbers_may_be_texts() {
    let text = r#"{"max_retry_per_task": "7", "min_dram_gb_accept_new_task": " 4 ",
        "max_task_per_worker": 8.0}"#;
    let conf = OriginalConf::parse(text).unwrap();
    assert_eq!((conf.attempts_max, conf.accept_free, conf.tasks_max), (7, 4 * GIB, 8));
}

#[test]
fn a_setting_without_a_meaning_here_may_have_any_value() {
    let text = r#"{"redis_port": "x", "redis_pass": 12345, "result_dir": {}}"#;
    let conf = OriginalConf::parse(text).unwrap();
    assert_eq!(conf, OriginalConf::default());
}

#[test]
fn fractions_are_kept_where_they_mean_something() {
    let text = r#"{"sleep_sec_between_accepting_task": 0.5, "min_dram_gb_trigger_return": 1.5}"#;
    let conf = OriginalConf::parse(text).unwrap();
    assert_eq!(conf.sleep_between_tasks, Duration::from_millis(500));
    assert_eq!(conf.return_free, GIB + GIB / 2);
}

#[test]
fn a_timeout_of_zero_is_none() {
    let conf = OriginalConf::parse(r#"{"default_task_timeout_seconds": 0}"#).unwrap();
    assert_eq!(conf.task_timeout, None);
}

#[test]
fn a_wrong_value_is_an_error_that_names_the_setting() {
    let cases = [
        (r#"{"max_retry_per_task": 65536}"#, "\"max_retry_per_task\": 65536 is not a whole"),
        (r#"{"max_retry_per_task": "x"}"#, "\"max_retry_per_task\": \"x\" is not a whole"),
        (r#"{"max_task_per_worker": 4.5}"#, "\"max_task_per_worker\": 4.5 is not a whole number"),
        (r#"{"max_task_per_worker": true}"#, "\"max_task_per_worker\": true is not"),
        (r#"{"max_retry_per_task": -1}"#, "\"max_retry_per_task\": -1 is not"),
        (r#"{"health_report_interval": []}"#, "\"health_report_interval\": [] is not a number"),
        (r#"{"min_dram_gb_accept_new_task": "4GB"}"#, "\"4GB\" is not a number of GB"),
        ("[]", "not an object of settings such as {\"max_task_per_worker\": 8}"),
        ("4", "not an object"),
    ];
    for (text, expected) in cases {
        let error = OriginalConf::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn unknown_settings_have_no_effect_and_are_named() {
    let conf = OriginalConf::parse(r#"{"redis_db": 1, "max_tasks_per_worker": 8}"#).unwrap();
    assert_eq!(conf.tasks_max, 32);
    assert_eq!(conf.unknown, ["max_tasks_per_worker"]);
    assert!(conf.warnings()[0].contains("max_tasks_per_worker"), "{:?}", conf.warnings());
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    let text = r#"{"min_dram_gb_accept_new_task": 2, "min_dram_gb_trigger_return": 96,
        "max_task_per_worker": 0}"#;
    let warnings = OriginalConf::parse(text).unwrap().warnings();
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].contains("96 GiB") && warnings[0].contains("2 GiB"), "{warnings:?}");
}

#[test]
fn defect_16_a_save_in_the_middle_is_an_error_and_the_next_one_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conf.json");
    std::fs::write(&path, r#"{"max_task_per_worker": 8"#).unwrap();
    let error = OriginalConf::read(&path).unwrap_err();
    assert!(matches!(error, ConfError::Wrong { .. }), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    std::fs::write(&path, r#"{"max_task_per_worker": 8}"#).unwrap();
    assert_eq!(OriginalConf::read(&path).unwrap().tasks_max, 8);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("conf.json");
    let error = OriginalConf::read(&path).unwrap_err();
    assert!(matches!(error, ConfError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}
