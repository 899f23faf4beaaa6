//! What a browser shows: pictures of it, and the screens and colour schemes to take them in.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use fantoccini::Client;
use fantoccini::error::CmdError;
use serde_json::{Value, json};

use super::wire;

/// A kind of screen.
pub(crate) struct Screen {
    pub(crate) name: &'static str,
    width: u32,
    height: u32,
    /// Pixels for each unit of length.
    density: u32,
    is_phone: bool,
}

pub(crate) const SCREENS: [Screen; 2] = [
    Screen {
        name: "desktop",
        width: 1200,
        height: 900,
        density: 1,
        is_phone: false,
    },
    Screen {
        name: "phone",
        width: 390,
        height: 844,
        density: 2,
        is_phone: true,
    },
];

/// What a page can be asked for through `prefers-color-scheme`.
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

/// Writes what the browser shows to `name`.png in the folder screenshots of the target folder.
pub(crate) async fn screenshot(browser: &Client, name: &str) -> Result<(), CmdError> {
    let picture = browser.screenshot().await?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("screenshots");
    fs::create_dir_all(&folder).unwrap();
    let mut file = fs::File::create(folder.join(format!("{name}.png"))).unwrap();
    file.write_all(&picture).unwrap();
    Ok(())
}

/// Makes the browser's pages look as on such a screen, of a visitor who prefers this colour scheme.
pub(crate) async fn look_as(
    browser: &Client,
    webdriver: &str,
    screen: &Screen,
    scheme: &str,
) -> Result<(), CmdError> {
    let id = browser.session_id().await?.unwrap();
    let metrics = json!({
        "width": screen.width,
        "height": screen.height,
        "deviceScaleFactor": screen.density,
        "mobile": screen.is_phone,
    });
    let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    devtools(
        webdriver,
        &id,
        "Emulation.setDeviceMetricsOverride",
        &metrics,
    );
    devtools(webdriver, &id, "Emulation.setEmulatedMedia", &media);
    Ok(())
}

/// WebDriver has no word for screens and colour schemes, so that Chromium's own protocol must be spoken.
fn devtools(webdriver: &str, id: &str, command: &str, parameters: &Value) {
    let path = format!("/session/{id}/goog/cdp/execute");
    let answer = wire::send(
        webdriver,
        &[
            &format!("POST {path} HTTP/1.1"),
            "Content-Type: application/json",
        ],
        &json!({ "cmd": command, "params": parameters }).to_string(),
    );
    assert_eq!(
        answer.status, 200,
        "Chromium refused {command}: {}",
        answer.body
    );
}
