//! The dashboard in a real browser: what its users see and do.

mod browser;

use crate::journaled::skip;
use crate::support::{Running, text};
use crate::task_bed::{Farm, Fifo, shell};
use browser::Browser;
use std::fs;
use std::path::PathBuf;

/// Where the page says whether it is connected.
const CONNECTION: &str = "#connection";
/// The rows of the list of tasks, without those with details.
const ROWS: &str = "#tasks-table tbody tr:not(.details)";

/// A server with a dashboard and a worker, with a job under way.
struct Scene {
    // Both end before their folder goes away.
    server: Running,
    _worker: Running,
    farm: Farm,
    /// Where the dashboard is.
    url: String,
    /// Keeps a task from going on.
    gate: Fifo,
    /// With this file the failing task succeeds.
    remedy: PathBuf,
}

impl Scene {
    /// Two tasks that succeed, one that waits at a gate, and one that fails without its remedy.
    fn new() -> Self {
        let farm = Farm::new();
        let (server, url) = serve(&farm, "127.0.0.1:0");
        let worker = farm.work("node1", &["--slots", "2"]);
        let (gate, remedy) = (farm.fifo("gate"), farm.path("remedy"));
        let fails = format!("test -e {} || {{ echo it broke >&2; exit 7; }}", text(&remedy));
        let lines = [shell("true a"), shell("true b"), shell(&fails), shell(&gate.waits())];
        let file = farm.file("sweep.task", &lines);
        farm.tell(&["submit", &file, "--retries", "0"]);
        Self { server, _worker: worker, farm, url, gate, remedy }
    }

    /// Starts the server again, at the same places.
    fn serve_again(&mut self) {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let (server, url) = serve(&self.farm, address);
        assert_eq!(url, self.url);
        self.server = server;
    }
}

/// Starts a server with its journal and a dashboard at an address; with the address that it has.
fn serve(farm: &Farm, http: &str) -> (Running, String) {
    let (socket, journal) = (farm.path("tasks.sock"), farm.path("journal"));
    let listen = format!("unix:{}", text(&socket));
    let args = ["task", "serve", "--listen", &listen, "--journal-dir", text(&journal)];
    let mut server = Running::start(&[&args[..], &["--http", http]].concat());
    let line = server.wait_for_line("http://");
    let url = line.split_whitespace().find(|word| word.starts_with("http://"));
    let url = url.expect("an address").to_owned();
    server.wait_for_line("ready");
    (server, url)
}

#[test]
fn a_browser_shows_a_job_and_its_failures_and_retries_them_and_outlives_the_server() {
    let Some(program) = browser::find() else {
        return skip("chromium not found, install chromium");
    };
    let mut scene = Scene::new();
    let mut page = Browser::start(program.as_os_str());
    page.show(1280, 900, "light");
    page.open(&scene.url);
    shows_progress(&mut page, &scene);
    filters(&mut page);
    searches(&mut page);
    explains_the_failure(&mut page);
    fits_everywhere(&mut page);
    retries(&mut page, &scene);
    let troubles = page.troubles();
    assert!(troubles.is_empty(), "{troubles:#?}");
    outlives_the_server(&mut page, &mut scene);
}

fn live() -> String {
    format!("document.querySelector({CONNECTION:?})?.dataset.state === 'live'")
}

/// Waits for the words that say how far everything is.
fn until_progress(page: &mut Browser, text: &str) {
    let words = "document.querySelector('#progress-text')?.textContent";
    page.until(&format!("{words}.startsWith({text:?})"));
}

/// Waits until the list has as many tasks, and all are in this state.
fn until_rows(page: &mut Browser, count: usize, state: &str) {
    page.until(&format!(
        "(() => {{
           const states = [...document.querySelectorAll('{ROWS} .state')];
           return states.length === {count} && states.every((it) => it.textContent === {state:?});
         }})()"
    ));
}

fn shows_progress(page: &mut Browser, scene: &Scene) {
    page.until(&live());
    until_progress(page, "2 of 4 done, 1 failed, 1 running");
    assert!(page.text("#jobs-table tbody").contains("sweep"));
    assert!(page.text("#workers-table tbody").contains("node1"));
    page.until(&format!("document.querySelectorAll('{ROWS}').length === 4"));
    // Nothing is clicked: the page hears of it.
    scene.gate.release();
    until_progress(page, "3 of 4 done, 1 failed");
    let title = page.eval("document.title");
    assert!(title.as_str().is_some_and(|title| title.starts_with("3 of 4 ")), "{title}");
    page.until("document.querySelectorAll('#charts path').length === 6");
}

fn filters(page: &mut Browser) {
    page.click("#states button[data-state=done]");
    until_rows(page, 3, "done");
    assert_eq!(page.eval("location.hash"), "#state=done");
    page.click("#states button[data-state=done]");
    page.click("#states button[data-state=failed]");
    until_rows(page, 1, "failed");
    let pressed = page.eval(
        "[...document.querySelectorAll('#states [aria-pressed=true]')].map((it) => it.innerText)",
    );
    assert_eq!(pressed, serde_json::json!(["Failed 1"]));
    // Another visit by the same address shows the same.
    page.reload();
    page.until(&format!("document.querySelector('{ROWS} .state')?.textContent === 'failed'"));
    page.click("#clear");
    page.until(&format!("document.querySelectorAll('{ROWS}').length === 4"));
}

fn searches(page: &mut Browser) {
    page.eval("document.activeElement.blur()");
    page.press("/");
    assert_eq!(page.eval("document.activeElement.id"), "search");
    assert_eq!(page.eval("document.activeElement.value"), "", "the key itself is not typed");
    page.write("true b");
    until_rows(page, 1, "done");
    assert!(page.text(&format!("{ROWS} .code")).contains("true b"));
    page.click("#clear");
    page.until(&format!("document.querySelectorAll('{ROWS}').length === 4"));
}

fn explains_the_failure(page: &mut Browser) {
    page.click("#states button[data-state=failed]");
    until_rows(page, 1, "failed");
    assert!(page.text(&format!("{ROWS} .note")).contains("exit code 7"));
    page.click(&format!("{ROWS} button[aria-expanded=false]"));
    page.until("document.querySelector('tr.details pre') !== null");
    let details = page.text("tr.details");
    assert!(details.contains("it broke") && details.contains("exit code 7"), "{details}");
}

/// On a desk, in the dark and on the smallest phone nothing has to be moved aside to be read.
fn fits_everywhere(page: &mut Browser) {
    for (name, width, height, scheme) in [
        ("dashboard-light", 1280, 1400, "light"),
        ("dashboard-dark", 1280, 1400, "dark"),
        ("dashboard-phone", 320, 1400, "light"),
    ] {
        page.show(width, height, scheme);
        let needed = page.eval("document.documentElement.scrollWidth");
        assert!(needed.as_u64().is_some_and(|needed| needed <= width.into()), "{name}: {needed}");
        page.picture(name);
    }
    let light = page.eval("getComputedStyle(document.body).backgroundColor");
    page.show(1280, 900, "dark");
    assert_ne!(page.eval("getComputedStyle(document.body).backgroundColor"), light);
    page.show(1280, 900, "light");
}

fn retries(page: &mut Browser, scene: &Scene) {
    fs::write(&scene.remedy, "").expect("a temporary file can be written");
    page.click(&format!("{ROWS} button[aria-label^=Retry]"));
    page.until("document.querySelector('#message').textContent.endsWith('is tried again.')");
    until_progress(page, "4 of 4 done");
    // None is left that failed.
    page.until(&format!("document.querySelector('{ROWS}').innerText === 'No task matches.'"));
    page.click("#clear");
    until_rows(page, 4, "done");
    assert!(scene.farm.states().iter().all(|state| state == "done"));
}

fn outlives_the_server(page: &mut Browser, scene: &mut Scene) {
    scene.server.kill();
    page.until(&format!("document.querySelector({CONNECTION:?})?.dataset.state === 'lost'"));
    assert_eq!(page.text(CONNECTION), "not connected, trying again");
    page.picture("dashboard-lost");
    scene.serve_again();
    page.until(&live());
    until_progress(page, "4 of 4 done");
    page.until("!document.querySelector('#message').classList.contains('bad')");
    until_rows(page, 4, "done");
    // That nobody was there was seen by the network, and by nothing else.
    let troubles = page.troubles();
    let of_the_page = troubles.iter().filter(|trouble| !trouble.is_network);
    let texts: Vec<&str> = of_the_page.map(|trouble| trouble.text.as_str()).collect();
    assert!(texts.is_empty(), "{texts:#?}");
}
