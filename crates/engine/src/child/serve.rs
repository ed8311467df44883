//! The child's side: confines itself, then serves one engine to its parent until the pipe ends.

use super::messages::{FromChild, Prepared, ToChild, receive, send};
use crate::{CancelFlag, Engine, EngineError, sandbox};
use protocol::{Rect, RenderSettings};
use std::{
    io::{self, BufReader, Read, Write},
    path::PathBuf,
    process,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// A render that the parent asked for.
struct Request {
    settings: RenderSettings,
    frame: i32,
    rects: Vec<Rect>,
    cancel: CancelFlag,
}

/// Serves `engine` to the parent over two pipes; returns when the parent closes its end before anything was prepared,
/// and exits the process when it does so later, even in the middle of a render.
///
/// # Errors
/// When a pipe breaks or the parent does not keep to the order of messages.
pub fn serve_child(
    mut engine: Box<dyn Engine>,
    stdin: impl Read + Send + 'static,
    mut stdout: impl Write,
) -> io::Result<()> {
    send(&mut stdout, &FromChild::Hello)?;
    let mut stdin = BufReader::new(stdin);
    let (bundle, entry) = match receive(&mut stdin)? {
        None => return Ok(()),
        Some(ToChild::Prepare {
            bundle,
            entry,
            scratch,
            memory_bytes_max,
        }) => {
            let read = engine
                .program_files()
                .into_iter()
                .chain([bundle.clone()])
                .collect();
            let permissions = sandbox::Permissions {
                read,
                write: vec![scratch],
                memory_bytes_max,
            };
            // Threads that exist already would stay free: the pipe's reader starts after this.
            let confinement = sandbox::confine(&permissions)?;
            ((bundle, confinement), entry)
        }
        Some(_) => return Err(io::Error::other("the first message is not the scene")),
    };
    let (bundle, confinement): (PathBuf, _) = bundle;
    let requests = read_requests(stdin);
    let description = engine.prepare(&bundle, &entry);
    let prepared = description.map(|description| Prepared {
        description,
        confinement,
        build: engine.build(),
    });
    send(
        &mut stdout,
        &FromChild::Prepared(prepared.map_err(Into::into)),
    )?;
    for request in requests {
        let result = render(engine.as_mut(), &request, &mut stdout)?;
        send(
            &mut stdout,
            &FromChild::Rendered(result.map_err(Into::into)),
        )?;
    }
    Ok(())
}

/// Renders and sends the rectangles one by one.
fn render(
    engine: &mut dyn Engine,
    request: &Request,
    stdout: &mut impl Write,
) -> io::Result<Result<(), EngineError>> {
    let Request {
        settings,
        frame,
        rects,
        cancel,
    } = request;
    let mut bytes = Vec::new();
    for &rect in rects {
        let rendered = match engine.render(settings, *frame, &[rect], cancel) {
            Ok(rendered) => rendered,
            Err(error) => return Ok(Err(error)),
        };
        for rendered in rendered {
            bytes.clear();
            if let Err(error) = rendered.write_canonical(&settings.passes, &mut bytes) {
                return Ok(Err(EngineError::Failed(error.to_string())));
            }
            send(
                stdout,
                &FromChild::Rect {
                    rect: rendered.rect,
                    bytes: bytes.len() as u64,
                },
            )?;
            stdout.write_all(&bytes)?;
        }
    }
    Ok(Ok(()))
}

/// Reads on while the engine renders: cancels at once, and ends the process with its parent.
fn read_requests(mut stdin: impl Read + Send + 'static) -> Receiver<Request> {
    let (sender, receiver): (SyncSender<Request>, _) = sync_channel(1);
    thread::spawn(move || {
        let mut running = (0, CancelFlag::default());
        loop {
            match receive(&mut stdin) {
                Ok(Some(ToChild::Render {
                    number,
                    settings,
                    frame,
                    rects,
                })) => {
                    running = (number, CancelFlag::default());
                    let cancel = running.1.clone();
                    if sender
                        .send(Request {
                            settings,
                            frame,
                            rects,
                            cancel,
                        })
                        .is_err()
                    {
                        return;
                    }
                }
                Ok(Some(ToChild::Cancel { number })) if number == running.0 => running.1.cancel(),
                Ok(Some(ToChild::Cancel { .. })) => {}
                Ok(Some(ToChild::Prepare { .. }) | None) | Err(_) => process::exit(0),
            }
        }
    });
    receiver
}
