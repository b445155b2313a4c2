//! A real browser without a window, driven over its DevTools protocol.

use crate::support::{Running, folder};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};
use tempfile::TempDir;
use tungstenite::{Error, Message, WebSocket};

/// Names of the program.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// It asks nobody for anything, and needs no rights that a test may not have.
const OPTIONS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
];
/// What takes this long hangs. The page gives up a little earlier, and says what it shows.
const PATIENCE: Duration = Duration::from_secs(60);
const PAGE_PATIENCE_MS: u32 = 50_000;

/// A browser with one page.
pub(crate) struct Browser {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// What happened meanwhile.
    events: VecDeque<Value>,
    /// It ends before its folder goes away.
    _process: Running,
    _profile: TempDir,
}

/// Something that went wrong on the page.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The network was to blame, not the page.
    pub(crate) is_network: bool,
    pub(crate) text: String,
}

/// Where the browser is, if there is one.
pub(crate) fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let places = env::split_paths(&path).flat_map(|dir| PROGRAMS.map(|name| dir.join(name)));
    places.into_iter().find(|place| place.is_file())
}

impl Browser {
    /// Starts it, with an empty page.
    pub(crate) fn start(program: &OsStr) -> Self {
        let profile = folder();
        let mut command = Command::new(program);
        command.args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process = Running::spawn(command.arg("about:blank"));
        let line = process.wait_for_line("DevTools listening on ");
        let (_, url) = line.split_once("ws://").expect("the address of a socket");
        let (address, _) = url.split_once('/').expect("an address and a path");
        let stream = TcpStream::connect(address).expect("the browser listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, _) = tungstenite::client(format!("ws://{url}"), stream).expect("a handshake");
        let mut browser = Self {
            socket,
            session: None,
            calls: 0,
            events: VecDeque::new(),
            _process: process,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Calls a method and waits for its result.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).expect("the browser is there");
        loop {
            let mut message = self.receive();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message:#}");
                return message["result"].take();
            }
            self.events.push_back(message);
        }
    }

    fn receive(&mut self) -> Value {
        loop {
            let message = match self.socket.read() {
                // A read with a timeout may be interrupted without a handler of any signal: when a
                // child ends whose thread is just starting another one with signals blocked.
                Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => continue,
                message => message.expect("the browser says something in time"),
            };
            match message {
                Message::Text(text) => {
                    return serde_json::from_str(text.as_str()).expect("the browser speaks JSON");
                }
                Message::Close(_) => panic!("the browser has ended"),
                _ => {}
            }
        }
    }

    /// Opens an address, and waits until all of it has come.
    pub(crate) fn open(&mut self, url: &str) {
        self.load("Page.navigate", &json!({ "url": url }));
    }

    /// Opens the same address again.
    pub(crate) fn reload(&mut self) {
        self.load("Page.reload", &json!({}));
    }

    fn load(&mut self, method: &str, params: &Value) {
        self.events.retain(|event| event["method"] != "Page.loadEventFired");
        let opened = self.call(method, params);
        assert!(opened["errorText"].is_null(), "{opened}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.receive();
            self.events.push_back(event);
        }
    }

    /// What an expression comes to on the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut done = self.call("Runtime.evaluate", &params);
        assert!(done["exceptionDetails"].is_null(), "{expression}: {done:#}");
        done["result"]["value"].take()
    }

    /// Waits until a condition holds on the page.
    pub(crate) fn until(&mut self, condition: &str) {
        let look = format!(
            "if ({condition}) {{ resolve(true); }}
             else if (performance.now() < end) {{ setTimeout(look, 10); }}
             else {{ reject(new Error('it stays at: ' + document.body.innerText)); }}"
        );
        self.eval(&format!(
            "new Promise((resolve, reject) => {{
               const end = performance.now() + {PAGE_PATIENCE_MS};
               const look = () => {{ {look} }};
               look();
             }})"
        ));
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({selector:?})?.textContent"));
        found.as_str().unwrap_or_else(|| panic!("nothing is at {selector}")).to_owned()
    }

    /// Clicks what a selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        self.eval(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Presses a key that stands for a character, wherever the focus is.
    pub(crate) fn press(&mut self, key: &str) {
        for (kind, text) in [("keyDown", key), ("keyUp", "")] {
            let params = json!({ "type": kind, "key": key, "text": text });
            self.call("Input.dispatchKeyEvent", &params);
        }
    }

    /// Writes a text where the focus is.
    pub(crate) fn write(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Shows the page in a window of a size, to somebody who likes it dark or not.
    pub(crate) fn show(&mut self, width: u32, height: u32, scheme: &str) {
        let params = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &params);
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": features }));
        // The page is drawn anew before anything is looked at.
        self.eval(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
    }

    /// Writes what the page looks like into a file, if somebody wants pictures.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(dir) = env::var_os("PUNCTUAL_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let data = shot["data"].as_str().expect("a picture");
        fs::create_dir_all(&dir).expect("the folder for pictures");
        let path = PathBuf::from(dir).join(format!("{name}.png"));
        fs::write(path, bytes_of(data)).expect("the folder for pictures can be written");
    }

    /// What went wrong since this was last asked.
    pub(crate) fn troubles(&mut self) -> Vec<Trouble> {
        // Whatever was said before the answer to this has come by then.
        self.eval("0");
        self.events.drain(..).filter_map(|event| trouble(&event)).collect()
    }
}

/// The trouble that an event is about, if it is about any.
fn trouble(event: &Value) -> Option<Trouble> {
    let params = &event["params"];
    let is_trouble = match event["method"].as_str()? {
        "Runtime.exceptionThrown" => true,
        "Runtime.consoleAPICalled" => {
            ["error", "warning", "assert"].iter().any(|kind| params["type"] == *kind)
        }
        "Log.entryAdded" => {
            ["error", "warning"].iter().any(|level| params["entry"]["level"] == *level)
        }
        _ => false,
    };
    let is_network = params["entry"]["source"] == "network";
    is_trouble.then(|| Trouble { is_network, text: params.to_string() })
}

/// The bytes that a text in base64 stands for.
fn bytes_of(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = DIGITS.iter().position(|it| *it == digit).expect("a digit of base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn pictures_are_what_their_digits_say() {
    for (text, bytes) in [("", ""), ("TQ==", "M"), ("TWE=", "Ma"), ("TWFu", "Man")] {
        assert_eq!(bytes_of(text), bytes.as_bytes());
    }
    assert_eq!(bytes_of("/+8="), [0xff, 0xef]);
}
