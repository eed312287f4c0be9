//! How conversations end: whoever goes, the other side is told, and nothing is left behind.

use crate::rig::*;
use myagent_relay::codec::{Opcode, write_close, write_frame, write_masked_frame};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_close(&mut frame, code, reason);
    frame
}

async fn read_to_end(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[test]
fn an_agent_that_dies_between_frames_is_reported_with_1012() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Text, b"half an ans");
        agent.write_all(&frame).await?;
        drop(agent);
        rig.agent_dies();
        frame.extend(close_frame(1012, "agent ended"));
        assert_eq!(read_to_end(&mut client).await?, frame);
        drop(client);
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (1012, "agent ended"));
        Ok(())
    })
}

#[test]
fn an_agent_that_breaks_its_connection_is_reported_too() -> Outcome {
    run(async {
        let (rig, mut client, agent) = raw_pair().await?;
        agent.set_zero_linger()?;
        drop(agent);
        rig.agent_dies();
        assert_eq!(read_to_end(&mut client).await?, close_frame(1012, "agent ended"));
        drop(client);
        assert_eq!(rig.closed().await.code, 1012);
        Ok(())
    })
}

#[test]
fn an_agent_that_lives_and_ends_the_connection_without_a_word_is_passed_on_as_it_is() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        agent.write_all(&[0x81, 1, b'x']).await?;
        drop(agent);
        assert_eq!(read_to_end(&mut client).await?, [0x81, 1, b'x']);
        drop(client);
        let closed = rig.closed().await;
        assert_eq!(
            (closed.code, closed.reason.as_str()),
            (1006, "the agent ended the connection without a close frame")
        );
        Ok(())
    })
}

#[test]
fn an_agent_that_dies_inside_a_frame_ends_the_stream() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        agent.write_all(&[0x81, 100, b'x']).await?;
        drop(agent);
        assert_eq!(read_to_end(&mut client).await?, [0x81, 100, b'x']);
        drop(client);
        assert_eq!(rig.closed().await.code, 1006);
        Ok(())
    })
}

#[test]
fn a_client_that_goes_is_passed_on_to_the_agent() -> Outcome {
    run(async {
        let (rig, client, mut agent) = raw_pair().await?;
        drop(client);
        assert!(read_to_end(&mut agent).await?.is_empty());
        drop(agent);
        assert_eq!(rig.closed().await.code, 1006);

        let (rig, client, mut agent) = raw_pair().await?;
        client.set_zero_linger()?;
        drop(client);
        let error = agent.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (1006, "the client went away"));
        Ok(())
    })
}

#[test]
fn a_disconnect_closes_both_sides_with_codes() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        let id = rig.table.open_ids()[0];
        assert!(rig.table.disconnect(id, 4002, "by an operator"));
        assert_eq!(read_to_end(&mut client).await?, close_frame(4002, "by an operator"));
        let frame = read_to_end(&mut agent).await?;
        assert_eq!(frame[..2], [0x88, 0x82]);
        assert_eq!([frame[6] ^ frame[2], frame[7] ^ frame[3]], 1001_u16.to_be_bytes());
        drop((client, agent));
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4002, "by an operator"));
        assert_eq!(rig.table.places(), 0);
        Ok(())
    })
}

#[test]
fn a_disconnect_waits_for_the_end_of_the_frame() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        agent.write_all(&[0x82, 4, 1, 2]).await?;
        let mut begun = [0; 4];
        client.read_exact(&mut begun).await?;
        rig.table.close_all(1001, "going away");
        let mut frame = vec![0; 8];
        agent.read_exact(&mut frame).await?;
        agent.write_all(&[3, 4, 0x82, 1, 9]).await?;
        let mut expected = vec![3, 4];
        expected.extend(close_frame(1001, "going away"));
        assert_eq!(read_to_end(&mut client).await?, expected);
        Ok(())
    })
}

#[test]
fn a_frame_that_never_ends_does_not_hold_a_disconnect_up() -> Outcome {
    run_paused(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        agent.write_all(&[0x82, 4, 1, 2]).await?;
        let mut begun = [0; 4];
        client.read_exact(&mut begun).await?;
        rig.table.close_all(1001, "going away");
        assert!(read_to_end(&mut client).await?.is_empty());
        // Neither side closes; the conversation ends all the same.
        assert_eq!(rig.closed().await.code, 1001);
        Ok(())
    })
}

/// With a paused clock time jumps ahead whenever nothing happens, so minutes pass at once.
fn run_paused<F: Future<Output = Outcome>>(test: F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

#[test]
fn a_silent_client_is_pinged_and_its_pong_swallowed() -> Outcome {
    run_paused(async {
        // While one task is always ready, time moves only when it is told to.
        tokio::task::spawn_local(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let (rig, mut client, mut agent) = raw_pair().await?;
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(26)).await;
            let mut ping = [0; 18];
            client.read_exact(&mut ping).await?;
            assert_eq!(ping[..10], *b"\x89\x10myagent:");
            let mut frames = Vec::new();
            write_masked_frame(&mut frames, Opcode::Pong, &ping[2..], [1, 2, 3, 4]);
            write_masked_frame(&mut frames, Opcode::Text, b"I am", [1, 2, 3, 4]);
            client.write_all(&frames).await?;
            let mut received = vec![0; 6 + 4];
            agent.read_exact(&mut received).await?;
            assert_eq!(received, frames[22..]);
        }
        assert_eq!(rig.table.report(true).totals.messages_in, 3);
        Ok(())
    })
}

#[test]
fn a_client_that_does_not_answer_a_ping_is_dropped() -> Outcome {
    run_paused(async {
        let start = tokio::time::Instant::now();
        let (rig, client, mut agent) = raw_pair().await?;
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (1006, "no answer to a ping"));
        let totals = rig.table.report(false).totals;
        assert_eq!((totals.vanished_clients, totals.slow_clients), (1, 0));
        assert!((35..60).contains(&start.elapsed().as_secs()));
        let frame = read_to_end(&mut agent).await?;
        assert_eq!(frame[..2], [0x88, 0x82]);
        drop(client);
        Ok(())
    })
}

#[test]
fn a_client_that_takes_nothing_is_dropped_as_slow() -> Outcome {
    run_paused(async {
        let (rig, client, mut agent) = raw_pair().await?;
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Binary, &vec![7; 100_000]);
        let flood = async {
            // The relay stops reading, then drops the client and shuts this side.
            while agent.write_all(&frame).await.is_ok() {}
        };
        let (closed, ()) = tokio::join!(rig.closed(), flood);
        assert_eq!((closed.code, closed.reason.as_str()), (1013, "slow_client"));
        let totals = rig.table.report(false).totals;
        assert_eq!((totals.vanished_clients, totals.slow_clients), (0, 1));
        drop(client);
        Ok(())
    })
}

#[test]
fn a_client_that_goes_is_noticed_even_if_the_agent_does_not_read() -> Outcome {
    run_paused(async {
        for breaks in [false, true] {
            let (rig, mut client, agent) = raw_pair().await?;
            // More than fits anywhere.
            let frame = vec![7; 1 << 20];
            client.write_all(&[&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat()).await?;
            while let Ok(sent) =
                tokio::time::timeout(Duration::from_millis(100), client.write_all(&frame)).await
            {
                sent?;
            }
            if breaks {
                client.set_zero_linger()?;
            }
            drop(client);
            let closed = rig.closed().await;
            assert_eq!((closed.code, closed.reason.as_str()), (1006, "the client went away"));
            drop(agent);
        }
        Ok(())
    })
}

#[test]
fn a_close_that_nobody_answers_ends_all_the_same() -> Outcome {
    run_paused(async {
        let start = tokio::time::Instant::now();
        let (rig, mut client, mut agent) = raw_pair().await?;
        agent.write_all(&close_frame(4001, "enough")).await?;
        // No ping of ours comes behind it.
        assert_eq!(read_to_end(&mut client).await?, close_frame(4001, "enough"));
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4001, "enough"));
        assert!((30..60).contains(&start.elapsed().as_secs()));
        drop((client, agent));
        Ok(())
    })
}

#[test]
fn an_agent_that_ignores_the_end_of_its_client_is_cut_off() -> Outcome {
    run_paused(async {
        let (rig, mut client, agent) = raw_pair().await?;
        client.shutdown().await?;
        assert_eq!(rig.closed().await.code, 1006);
        drop(agent);
        Ok(())
    })
}

#[test]
fn no_descriptor_is_left_behind() -> Outcome {
    run(async {
        let open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let (rig, client, agent) = raw_pair().await?;
        drop((client, agent));
        rig.closed().await;
        let before = open();
        for number in 0..20 {
            let (listener, addr) = listen().await?;
            let client = rig.raw(REQUEST).await?;
            drop((listener, addr));
            if number % 2 == 0 {
                drop(client);
            }
        }
        rig.until(|_| rig.given_back.borrow().len() == 20).await;
        rig.given_back.borrow_mut().clear();
        rig.until(|_| open() == before).await;
        tokio::time::sleep(Duration::ZERO).await;
        Ok(())
    })
}
