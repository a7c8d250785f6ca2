//! Why rows cannot be dealt as asked.

/// Options that these rows do not serve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More classes a client than there are.
    #[error("could not deal rows: {per_client} classes a client, there are {classes}")]
    ClassesExceed {
        /// Classes a client.
        per_client: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// More clients than rows.
    #[error("could not deal rows: {clients} clients, there are {rows} rows")]
    ClientsExceedRows {
        /// Clients.
        clients: usize,
        /// Rows of the data.
        rows: usize,
    },
    /// The column was not loaded: the source is no table.
    #[error("could not deal rows by column `{column}`: the data source has no columns")]
    ColumnMissing {
        /// The column.
        column: String,
    },
    /// No try gave every client enough.
    #[error("could not deal rows: with alpha = {alpha} none of {tries} tries gave each client {min} rows")]
    DirichletFailed {
        /// The concentration that was asked for.
        alpha: f64,
        /// The fewest rows that were asked for.
        min: usize,
        /// How often it was tried.
        tries: u32,
        /// The smallest concentration that worked, of those that were tried afterwards.
        worked: Option<f64>,
    },
    /// The fewest rows of each are more than all rows.
    #[error("could not deal rows: at least {min} rows for each of {clients} clients, there are {rows}")]
    MinExceedsRows {
        /// The fewest rows that were asked for.
        min: usize,
        /// Clients.
        clients: usize,
        /// Rows of the data.
        rows: usize,
    },
    /// The rule deals by class and the data have none.
    #[error("could not deal rows: the rule `{kind}` needs classes, the run predicts a number")]
    NeedsClasses {
        /// The rule.
        kind: &'static str,
    },
    /// A client would have nothing to train on.
    #[error("could not deal rows: client {client} would get none")]
    PartEmpty {
        /// Its index.
        client: usize,
    },
    /// More shards than rows.
    #[error("could not deal rows: {shards} shards, there are {rows} rows")]
    ShardsExceedRows {
        /// Shards.
        shards: usize,
        /// Rows of the data.
        rows: usize,
    },
}

impl Error {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ClassesExceed { classes, .. } => format!("set data.partition.per_client to at most {classes}"),
            Self::ClientsExceedRows { rows, .. } => format!("set data.partition.clients to at most {rows}"),
            Self::ColumnMissing { .. } => "use a csv: source, or another partition".to_owned(),
            Self::DirichletFailed { worked: Some(alpha), .. } => {
                format!("the smallest alpha that worked is {alpha}; or lower data.partition.min or clients")
            }
            Self::DirichletFailed { worked: None, .. } => "lower data.partition.min or clients".to_owned(),
            Self::MinExceedsRows { clients, rows, .. } => {
                format!("set data.partition.min to at most {}", rows / (*clients).max(1))
            }
            Self::NeedsClasses { .. } => "use `iid`, `quantity` or `natural`".to_owned(),
            Self::PartEmpty { .. } => "lower data.partition.clients".to_owned(),
            Self::ShardsExceedRows { .. } => "lower data.partition.clients or per_client".to_owned(),
        })
    }
}
