//! `p2pimg scan`: what a folder holds, and which pictures are in it more than once.
//! Nothing is written, moved or removed.

mod duplicates;
mod report;

use std::io::ErrorKind;

use crate::cli::{CommonArgs, Failure, ScanArgs, screen};
use crate::error::ExitCode;
use crate::store::decode::Inspector;
use crate::store::survey::Survey;

/// Looks at the folder and reports.
///
/// # Errors
/// The folder can't be read, or the report can't be written.
pub fn run(args: &ScanArgs, common: &CommonArgs) -> Result<(), Failure> {
    let shown = args.dir.display();
    let failed =
        |code, why: &dyn std::fmt::Display| Failure::new(code, format_args!("cannot scan {shown}: {why}"));
    match args.dir.metadata() {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(failed(ExitCode::Usage, &"it is not a folder")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(failed(ExitCode::NotFound, &"no such folder"));
        }
        Err(error) => return Err(failed(ExitCode::Other, &error)),
    }
    let inspector = Inspector::new(args.decode_memory.0, args.max_pixels.0);
    let bar =
        screen::bar(screen::shows_progress(common), "{bar:30} {pos} of {len} files looked at, {eta} left");
    let survey = Survey::of(&args.dir, &inspector, &|looked_at, found| {
        bar.set_length(found.max(looked_at));
        bar.set_position(looked_at);
    });
    bar.finish_and_clear();
    let survey = survey.map_err(|error| failed(ExitCode::Other, &error))?;
    let duplicates = args.duplicates.then(|| {
        let bar = screen::bar(screen::shows_progress(common), "{bar:30} {pos} of {len} pictures compared");
        let found = duplicates::find(&survey, &inspector, &|compared, all| {
            bar.set_length(all);
            bar.set_position(compared);
        });
        bar.finish_and_clear();
        found
    });
    if args.json {
        return report::json(&survey, duplicates.as_ref());
    }
    report::table(&survey, duplicates.as_ref(), common.quiet)
}
