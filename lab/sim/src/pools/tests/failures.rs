//! Every write of the operator fails once, before it is carried out and after, and the operator lives on or dies of it: each
//! operation ends as if nothing had happened.

use quorate_plan::AnyKind;
use quorate_plan::testing::example;

use super::super::host::{Hit, Side};
use super::super::world::World;
use super::{difference, of_every_kind};
use crate::operator::nodes::timestamp;

/// What a person does, one after another.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Create,
    /// So many members of the pool in this place.
    Scale(usize, i32),
    Upgrade,
    Delete,
}

/// Each pool is scaled out and in.
fn script(kind: &dyn AnyKind) -> Vec<Operation> {
    let pools = example(kind).pools.iter().enumerate();
    let scaled = pools.flat_map(|(at, pool)| {
        [pool.members[2], pool.members[1]].map(|members| Operation::Scale(at, members))
    });
    let scaled: Vec<_> = scaled.collect();
    [
        &[Operation::Create],
        &scaled[..],
        &[Operation::Upgrade, Operation::Delete],
    ]
    .concat()
}

impl Operation {
    fn begin(self, world: &mut World) {
        match self {
            Operation::Create => return,
            Operation::Scale(pool, members) => world.user.members[pool] = members,
            Operation::Upgrade => world.user.release(),
            Operation::Delete => return world.api.delete_resource(timestamp(world.now)),
        }
        world.api.edit_spec(world.user.spec());
    }
}

#[test]
fn each_write_of_each_operation_may_fail() {
    of_every_kind(|kind| {
        let name = &kind.names().kind;
        let mut world = World::made(kind);
        for operation in script(kind) {
            operation.begin(&mut world);
            let mut undisturbed = world.clone();
            let settled = undisturbed.settle();
            settled.unwrap_or_else(|broken| panic!("{name}, {operation:?}: {broken}"));
            let (expected, writes) = (undisturbed.view(), undisturbed.writes - world.writes);
            assert!(
                writes > 0,
                "{name}, {operation:?}: the operator writes nothing"
            );
            for side in [Side::Before, Side::After] {
                for kills in [false, true] {
                    let mut write = world.writes;
                    // As long as there is one: what failed is tried again, and other writes may follow.
                    loop {
                        write += 1;
                        let hit = Hit { write, side, kills };
                        let mut hurt = world.clone();
                        hurt.hit = Some(hit);
                        let settled = hurt.settle();
                        settled.unwrap_or_else(|broken| {
                            panic!("{name}, {operation:?}, {hit:?}: {broken}")
                        });
                        if hurt.hit.is_some() {
                            break;
                        }
                        let found = difference(&expected, &hurt.view());
                        assert!(found.is_empty(), "{name}, {operation:?}, {hit:?}: {found}");
                    }
                    let reached = write - world.writes;
                    assert!(
                        reached > writes,
                        "{name}, {operation:?}: {reached} of {writes}"
                    );
                }
            }
            world = undisturbed;
        }
    });
}
