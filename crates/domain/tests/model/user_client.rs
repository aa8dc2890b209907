//! Clients that enrol and delete faces, set retention rules, and create, fill, empty and delete users.

use std::future::Future;

use vidimus_domain::{FaceId, UserId};

use crate::administration::set_rules;
use crate::client::{delete, draw_enrolment, enrol, patience, pause, wait_a_little};
use crate::executor::{Kind, Lost, Process};
use crate::reply::Reply;
use crate::user_audit::Ends;
use crate::users::{associate_faces, create_user, delete_user, disassociate_faces, token};
use crate::world::World;

const USERS: [&str; 2] = ["anna", "bert"];

/// Does `operations` things, one after the other, with pauses.
pub async fn run(process: Process, operations: u64) {
    for _ in 0..operations {
        let pause = process.with(|world| pause(&mut world.random));
        process.sleep(pause).await;
        let (choice, user) = process.with(|world| (world.random.below(22), draw_user(world)));
        match choice {
            0..=3 => {
                let new = process.with(draw_enrolment);
                enrol(&process, new).await;
            }
            4..=5 => delete(&process).await,
            6..=8 => create(&process, user).await,
            9..=14 => associate(&process, user).await,
            15..=16 => disassociate(&process, user).await,
            17..=19 => erase(&process, user).await,
            _ => set_rules(&process).await,
        }
    }
}

fn draw_user(world: &mut World) -> UserId {
    world.random.pick(&USERS).unwrap_or_default().parse().expect("it is a user id")
}

fn draw_token(world: &mut World) -> String {
    format!("{:x}", world.random.next())
}

/// One or two faces, most often of the last.
fn draw_faces(world: &mut World) -> Vec<FaceId> {
    let from = world.known_faces.len().saturating_sub(3);
    let picked = (0..2).filter_map(|_| world.random.pick(&world.known_faces[from..])).collect::<Vec<_>>();
    let mut faces = picked;
    faces.dedup();
    faces
}

/// Asks a server, again where it does not answer. `serve` is one attempt of it.
async fn ask<F>(process: &Process, name: &'static str, serve: impl Fn(Process) -> F + Clone + 'static)
where
    F: Future<Output = Result<(), Lost>> + 'static,
{
    for _ in 0..4 {
        let reply = Reply::default();
        let (answered, serve) = (reply.clone(), serve.clone());
        process.spawn(Kind::Server, name, |server| async move {
            answered.give(serve(server).await);
        });
        let wait = process.with(|world| patience(&mut world.random));
        if reply.wait(process, wait).await.is_ok() {
            return;
        }
        process.count("a client retried a change of a user");
        wait_a_little(process).await;
    }
}

async fn create(process: &Process, user: UserId) {
    let token = token(&process.with(draw_token));
    ask(process, "creation", move |server| {
        let user = user.clone();
        async move {
            if let Some(created) = create_user(&server, &user, token).await? {
                server.with(|world| world.users.gone(&user, created.generation - 1));
            }
            Ok(())
        }
    })
    .await;
}

async fn erase(process: &Process, user: UserId) {
    let token = token(&process.with(draw_token));
    ask(process, "user deletion", move |server| {
        let user = user.clone();
        async move {
            let ended_at = server.with(|world| world.users.taking(&user, None));
            let _ends = Ends { process: server.clone(), ended_at };
            if let Some(generation) = delete_user(&server, &user, token).await? {
                server.with(|world| {
                    world.note(format!("user deletion: answers {user}"));
                    world.users.gone(&user, generation);
                });
            }
            Ok(())
        }
    })
    .await;
}

async fn associate(process: &Process, user: UserId) {
    let faces = process.with(draw_faces);
    ask(process, "association", move |server| {
        let (user, faces) = (user.clone(), faces.clone());
        async move {
            let began = server.now();
            if let Some((generation, faces)) = associate_faces(&server, &user, &faces).await? {
                server.with(|world| {
                    world.note(format!("association: answers {user}"));
                    world.associated(&(user, generation), &faces, began);
                });
            }
            Ok(())
        }
    })
    .await;
}

async fn disassociate(process: &Process, user: UserId) {
    let faces = process.with(draw_faces);
    ask(process, "disassociation", move |server| {
        let (user, faces) = (user.clone(), faces.clone());
        async move {
            let ended_at = server.with(|world| world.users.taking(&user, Some(&faces)));
            let _ends = Ends { process: server.clone(), ended_at };
            disassociate_faces(&server, &user, &faces).await.map(drop)
        }
    })
    .await;
}
