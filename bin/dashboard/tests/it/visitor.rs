//! Asking a dashboard from elsewhere.

use crate::farm::{ANY, Farm};
use punctual_dashboard::{Dashboard, DashboardConfig, Source, TasksQuery, VisitError, Visitor};
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};

fn visitor(at: SocketAddr, token: Option<&str>) -> Visitor {
    Visitor::new(at.to_string(), token).expect("a visitor")
}

fn document(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("it is JSON")
}

#[test]
fn a_visitor_gets_the_documents_of_the_page() {
    let mut farm = Farm::new();
    farm.submit("job", &["ok 1", "ok a&b=c d+ä%", "fail 3"]);
    let mut visitor = visitor(farm.at, None);
    let summary = document(&visitor.summary().expect("an answer"));
    assert_eq!(summary["title"], "a farm of a test");
    assert_eq!(summary["tasks"]["counts"]["ready"], 3);
    let search = "a&b=c d+ä%".to_owned();
    let query = TasksQuery { state: "todo".to_owned(), search, ..TasksQuery::default() };
    let page = document(&visitor.tasks(&query).expect("an answer"));
    assert_eq!(page["tasks"].as_array().map(Vec::len), Some(1), "{page:#}");
    assert_eq!(page["tasks"][0]["job"], "job");
    let bad = TasksQuery { limit: Some(0), ..TasksQuery::default() };
    let error = visitor.tasks(&bad).expect_err("there is no such page");
    assert!(matches!(&error, VisitError::Refused { why, .. } if why.contains("limit")), "{error}");
    farm.stop();
}

#[test]
fn a_visitor_shows_its_token_and_is_refused_without_it() {
    let config = DashboardConfig::new(ANY.parse().expect("an address"), "closed");
    let config = config.with_token("sésame");
    let dashboard = Dashboard::start(config, Source::default()).expect("it starts");
    let at = dashboard.address();
    let summary = visitor(at, Some("sésame")).summary().expect("an answer");
    assert_eq!(document(&summary)["title"], "closed");
    for token in [None, Some("other")] {
        let error = visitor(at, token).summary().expect_err("it is closed");
        assert!(error.to_string().contains("token") && error.is_usage(), "{error}");
    }
    assert!(matches!(Visitor::new("x:1", Some("a\nb")), Err(VisitError::Token)));
    dashboard.stop();
}

#[test]
fn where_nobody_listens_there_is_nothing_to_visit() {
    let listener = TcpListener::bind(ANY).expect("a port");
    let at = listener.local_addr().expect("an address");
    drop(listener);
    let error = visitor(at, None).summary().expect_err("nobody is there");
    assert!(matches!(error, VisitError::Unreachable { .. }) && error.is_usage(), "{error}");
    assert!(error.to_string().contains(&at.to_string()), "{error}");
}
