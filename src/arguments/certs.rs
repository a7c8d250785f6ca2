//! What `tributary certs` does, and for whom.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Certs {
    #[command(subcommand)]
    pub(crate) command: CertsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a federation's authority
    Init {
        /// Folder for the authority; keep root.key offline
        folder: PathBuf,
        /// Name of the federation
        #[arg(long)]
        federation: String,
    },
    /// Issue an identity
    Issue {
        /// Folder of the authority
        authority: PathBuf,
        /// Name of the member, unique in the federation
        name: String,
        /// Role
        #[arg(long, value_enum, default_value = "client")]
        role: Role,
        /// Folder for the identity
        #[arg(long)]
        out: PathBuf,
        /// Days until it expires
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
    },
    /// Invite a device: print a token with which it joins
    Invite {
        /// Folder of the authority
        authority: PathBuf,
        /// Name of the member, unique in the federation
        name: String,
        /// Role: client or evaluator
        #[arg(long, value_enum, default_value = "client")]
        role: Role,
        /// Where the coordinator lets devices join; by default what it wrote into the authority's folder
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
    },
    /// Take back every certificate and every open invitation of a member
    Revoke {
        /// Folder of the authority
        authority: PathBuf,
        /// Name of the member
        name: String,
        /// Identity folder of a coordinator on this machine, which gets the new list
        #[arg(long, value_name = "DIR")]
        to: Vec<PathBuf>,
    },
    /// Show certificates
    Show {
        /// A PEM file, an identity folder or an authority's folder
        path: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// Trains on its own data
    Client,
    /// Distributes models and adds updates
    Coordinator,
    /// Measures models on hold-out data
    Evaluator,
}
