//! `doctor`: checks this machine and the data directory. The checks are in [`crate::doctor`].

use super::App;
use crate::doctor;
use crate::exit::Failure;
use crate::output;
use crate::output::Colour;
use crate::progress::spin;
use anyhow::Result;
use myagent_core::diagnosis::Level;

pub(super) async fn run(app: &App) -> Result<()> {
    let spinner = spin(&app.out, "checking");
    let findings = doctor::examine(&app.data).await;
    drop(spinner);
    if app.out.is_json() {
        output::json(&findings)?;
    } else {
        for finding in &findings {
            let (word, colour) = match finding.level {
                Level::Ok => ("ok     ", Colour::Green),
                Level::Warning => ("warning", Colour::Yellow),
                Level::Broken => ("BROKEN ", Colour::Red),
            };
            output::write_line(&format!(
                "{} {:<12} {}",
                app.out.paint(colour, word),
                finding.check,
                finding.message
            ))?;
            if let Some(fix) = &finding.fix {
                output::write_line(&format!("{:21}fix: {fix}", ""))?;
            }
        }
    }
    let failed = findings.iter().filter(|finding| finding.level == Level::Broken).count();
    if failed > 0 { Err(Failure::Partly { failed, total: findings.len() }.into()) } else { Ok(()) }
}
