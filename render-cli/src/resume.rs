//! The beginning and end of a job on disk, and how one goes on.

use crate::{
    books::Books,
    delivery::look,
    failure::{Code, Failure},
    jobs::{self, JobFolder, Lock, Order, Record, State},
    journal::{Journal, JournalError},
    output::Pattern,
    report::Report,
};
use farm::{
    Farm, Progress,
    event::{Effect, Event, Millis},
    journal::read_entry,
};
use network::BlobStore;
use protocol::{Blake3Hash, Glm};
use std::time::Duration;

fn in_use(folder: &JobFolder) -> Failure {
    let id = folder.record().map(|record| record.id.short().to_string());
    Failure::preflight(format!(
        "job {} runs in another process",
        id.unwrap_or_default()
    ))
    .hint("wait for it, or stop it with `render pause JOB`")
}

fn lock(folder: &JobFolder) -> Result<Lock, Failure> {
    match folder.lock() {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(in_use(folder)),
        Err(error) => Err(Failure::preflight(format!("cannot lock the job: {error}"))),
    }
}

fn no_journal(folder: &JobFolder, error: JournalError) -> Failure {
    match error {
        JournalError::InUse => in_use(folder),
        JournalError::Storage(why) => {
            let path = folder.journal();
            Failure::preflight(format!("the journal {}: {why}", path.display()))
        }
    }
}

/// Puts a new job on disk.
pub fn begin(folder: &JobFolder, record: &Record, farm: Farm) -> Result<(Books, Lock), Failure> {
    folder.create()?;
    let lock = lock(folder)?;
    let checkpoint = farm.checkpoint();
    let checkpoint = checkpoint.map_err(|e| Failure::preflight(e.to_string()))?;
    let journal = Journal::create(&folder.journal(), &checkpoint);
    let journal = journal.map_err(|e| no_journal(folder, e))?;
    folder.set_record(record)?;
    Ok((Books::new(farm, journal, Vec::new()), lock))
}

/// Brings a job back to where its journal ends.
pub fn go_on(
    folder: &JobFolder,
    blobs: &BlobStore,
    report: &Report,
) -> Result<(Books, Lock), Failure> {
    let lock = lock(folder)?;
    folder.clear_orders();
    let opened = Journal::open(&folder.journal());
    let (journal, contents) = opened.map_err(|e| no_journal(folder, e))?;
    if contents.is_cut {
        report.say("notice: the last write of the journal was cut short and is dropped");
        report.data(&serde_json::json!({"event": "journal_cut"}));
    }
    let damaged = |why: String| {
        Failure::preflight(format!("the journal {}: {why}", folder.journal().display()))
            .hint("begin the job anew; frames that are written stay")
    };
    let mut farm = Farm::restore(&contents.checkpoint).map_err(|e| damaged(e.to_string()))?;
    let mut unneeded = Vec::new();
    for bytes in &contents.tail {
        let (now, mut event) = read_entry(bytes).map_err(|e| damaged(e.to_string()))?;
        find_cells(&mut event, blobs, &farm).map_err(damaged)?;
        for effect in farm.handle(now, event) {
            if let Effect::Forget { root } = effect {
                unneeded.push(root);
            }
        }
    }
    Ok((Books::new(farm, journal, unneeded), lock))
}

/// Puts the cells of a delivery, which its journal entry lacks, back in from the blob.
fn find_cells(event: &mut Event, blobs: &BlobStore, farm: &Farm) -> Result<(), String> {
    if let Event::Delivered {
        task,
        root,
        cells: Ok(cells),
        ..
    } = event
        && let Some(spec) = farm.spec_of(*task)
    {
        let (passes, due) = (&farm.config().job.settings.passes, farm.cells_due(*task));
        let found = look(blobs, *root, &spec, passes, &due);
        let (found, _) = found.map_err(|e| format!("the pixels {root} are gone: {e}"))?;
        *cells = found;
    }
    Ok(())
}

/// Most that the whole job may spend: what it has spent and what the account still holds, or what the user says.
pub fn budget(asked: Option<Glm>, balance: Glm, farm: &Farm) -> Option<Glm> {
    let progress = farm.progress();
    let paid = progress.spent.checked_sub(progress.held)?;
    let there = paid.checked_add(balance)?;
    Some(asked.map_or(there, |asked| asked.min(there)))
}

/// The time on the job's clock that is so far away.
pub fn deadline(after: Duration, farm: &Farm) -> Millis {
    let after = Millis::try_from(after.as_millis()).unwrap_or(Millis::MAX);
    farm.now().saturating_add(after)
}

/// Frames that failed, and those whose files are gone.
pub fn frames_again(farm: &Farm, pattern: &Pattern) -> Vec<i32> {
    let lost = farm
        .frames_done()
        .filter(|frame| !pattern.is_written(*frame));
    farm.frames_failed().chain(lost).collect()
}

/// Says how a run ended.
pub fn close(folder: &JobFolder, ended: &Result<(), Failure>, progress: &Progress) {
    let cancelled = folder.orders() == Some(Order::Cancel);
    let (state, reason) = match ended {
        Ok(()) => (State::Done, String::new()),
        Err(_) if cancelled => (State::Cancelled, "cancelled".into()),
        Err(failure) if failure.code == Code::Interrupted => (State::Paused, "paused".into()),
        Err(failure) => (State::Paused, failure.message.clone()),
    };
    if let Err(error) = folder.set_status(&jobs::status(state, &reason, progress)) {
        tracing::warn!(%error, "the status was not written");
    }
    folder.clear_orders();
}

/// Blobs of tiles that a job which is given up still keeps.
pub fn tiles(folder: &JobFolder) -> Vec<Blake3Hash> {
    let Ok((_, contents)) = Journal::open(&folder.journal()) else {
        return Vec::new();
    };
    let farm = Farm::restore(&contents.checkpoint);
    let mut roots = farm.map_or(Vec::new(), |farm| farm.blobs());
    for bytes in &contents.tail {
        if let Ok((_, Event::Delivered { root, .. })) = read_entry(bytes) {
            roots.push(root);
        }
    }
    roots
}
