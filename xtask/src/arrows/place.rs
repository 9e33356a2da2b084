//! Where a crate lies, and where its arrows may lead.

use std::fmt;

use Place::{
    Api, Check, Cli, Client, Core, Engine, History, Lab, Local, Manager, Model, Plan, Sans, Server,
    Shell, Sim, Wire, Xtask,
};

/// A crate's place in the house: its folder, read as DESIGN section 1 reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `operator/wire`
    Wire,
    /// `operator/api`
    Api,
    /// `operator/plan`
    Plan,
    /// `operator/model`
    Model,
    /// `operator/engine`
    Engine,
    /// `operator/client`
    Client,
    /// `operator/local`
    Local,
    /// `operator/manager`
    Manager,
    /// `workloads/common/*`, sans-io.
    Sans(String),
    /// `workloads/common/*`, with a runtime, sockets or RocksDB.
    Shell(String),
    /// `workloads/KIND/core`
    Core(String),
    /// `workloads/KIND/server`
    Server(String),
    /// `lab/history`
    History,
    /// `lab/check`
    Check,
    /// `lab/sim`
    Sim,
    /// The rest of `lab`.
    Lab(String),
    /// `cli`
    Cli,
    /// `xtask`
    Xtask,
}

/// What of `workloads/common` decides and does no I/O: the simulator runs it.
const SANS_IO: [&str; 5] = ["store", "raft", "group-core", "ring", "gossip"];
const SHELLS: [&str; 3] = ["node", "rocks", "group"];

impl Place {
    /// The place of a folder; none if the house has no such folder.
    pub fn of(folder: &str) -> Option<Self> {
        let place = match folder.split('/').collect::<Vec<_>>()[..] {
            ["operator", "wire"] => Wire,
            ["operator", "api"] => Api,
            ["operator", "plan"] => Plan,
            ["operator", "model"] => Model,
            ["operator", "engine"] => Engine,
            ["operator", "client"] => Client,
            ["operator", "local"] => Local,
            ["operator", "manager"] => Manager,
            ["workloads", "common", name] if SANS_IO.contains(&name) => Sans(name.into()),
            ["workloads", "common", name] if SHELLS.contains(&name) => Shell(name.into()),
            ["workloads", "common", _] => return None,
            ["workloads", kind, "core"] => Core(kind.into()),
            ["workloads", kind, "server"] => Server(kind.into()),
            ["lab", "history"] => History,
            ["lab", "check"] => Check,
            ["lab", "sim"] => Sim,
            ["lab", name] => Lab(name.into()),
            ["cli"] => Cli,
            ["xtask"] => Xtask,
            _ => return None,
        };
        Some(place)
    }

    /// Whether an arrow may lead from here to there. What an arrow leads to may be used with all that it may use.
    pub fn may_use(&self, used: &Place) -> bool {
        match self {
            Xtask => true,
            Wire | Model | History => false,
            Api | Client => matches!(used, Wire),
            Plan => matches!(used, Api | Wire),
            Engine => matches!(used, Plan | Api | Wire),
            Manager => matches!(used, Client) || reaches(&Engine, used),
            Local => matches!(used, Client | Model) || reaches(&Engine, used),
            Sans(_) => matches!(used, Sans(_) | Wire),
            Shell(_) => matches!(used, Shell(_) | Sans(_) | Wire),
            Core(_) => matches!(used, Sans(_)),
            // One workload uses another by its protocol only.
            Server(kind) => {
                matches!(used, Core(other) if other == kind) || reaches(&Shell(String::new()), used)
            }
            Check => matches!(used, History),
            Sim => {
                matches!(used, Model | Core(_) | Sans(_) | History | Check)
                    || reaches(&Engine, used)
            }
            Lab(_) => {
                matches!(used, Lab(_) | Manager) || reaches(&Sim, used) || reaches(&Local, used)
            }
            Cli => matches!(used, Lab(_)) || reaches(&Sim, used) || reaches(&Local, used),
        }
    }

    /// Whether the simulator runs it: then it links neither runtime nor sockets nor RocksDB.
    pub fn is_simulated(&self) -> bool {
        matches!(
            self,
            Sim | Wire | Api | Plan | Model | Engine | Sans(_) | Core(_)
        )
    }

    /// Whether users get a binary of it.
    pub fn is_shipped(&self) -> bool {
        matches!(self, Cli | Manager | Server(_))
    }
}

fn reaches(from: &Place, to: &Place) -> bool {
    from == to || from.may_use(to)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wire | Api | Plan | Model | Engine | Client | Local | Manager => {
                write!(f, "operator/{}", format!("{self:?}").to_lowercase())
            }
            Sans(name) => write!(f, "workloads/common/{name}, sans-io"),
            Shell(name) => write!(f, "workloads/common/{name}"),
            Core(kind) => write!(f, "workloads/{kind}/core"),
            Server(kind) => write!(f, "workloads/{kind}/server"),
            History | Check | Sim => write!(f, "lab/{}", format!("{self:?}").to_lowercase()),
            Lab(name) => write!(f, "lab/{name}"),
            Cli => f.write_str("cli"),
            Xtask => f.write_str("xtask"),
        }
    }
}
