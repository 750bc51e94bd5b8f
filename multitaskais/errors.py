"""The error tree. Every error says what happened and what the operator does about it.

    MultitaskAISError
    ├── ConfigError            a setting, a region or a rule that cannot be right
    ├── InputError             an archive, a file or a table that cannot be read as asked
    │   └── FormatError        its format is unknown, or not the one that was asked for
    ├── ModelError             a model folder that cannot be used
    │   ├── ModelNotFound      no such shipped model and no such folder
    │   ├── ModelCorrupt       a file is missing or its checksum differs
    │   ├── WrongRegion        made for another region than the one asked for
    │   └── StoreError         a model store that cannot be used, or holds what cannot be trusted
    │       ├── StoreRefused       it answers and lets us do nothing: keys, rights or the bucket are to be corrected
    │       └── StoreUnavailable   it does not answer: trying again may help
    ├── TrainingError          a network does not learn: its loss is no number any more
    ├── StateError             bytes that are not a vessel state of a known version
    └── OperatorError          the live operator cannot start or go on (broker, topics, security)
        ├── Fenced             another worker has the partition (``stream_operator.worker.checkpoint``)
        └── TryAgain           nothing that a person must repair: the same command may succeed in a moment (exit code 75)
            ├── BrokerAway     no broker answers (``stream_operator.kafka.topics``)
            └── InDoubt        whether a transaction was committed is not known (``stream_operator.worker.checkpoint``)

A report or a line that cannot be used is not an error: it is a counted rejection (``records.Reason``).
"""


class MultitaskAISError(Exception):
    """Base of all errors of this package. The command line prints it as one line and exits with 2."""


class ConfigError(MultitaskAISError):
    """A setting, a region, a rule or an option cannot be right. Correct the value that the message names."""


class InputError(MultitaskAISError):
    """An archive, a file or a table cannot be read as asked. Check the path and the file that the message names."""


class FormatError(InputError):
    """The format of an input is unknown, or not the one that was asked for. Name the format or the columns."""


class ModelError(MultitaskAISError):
    """A model cannot be used, or cannot go on with these tracks. Give another model, or make one again."""


class ModelNotFound(ModelError):
    """There is no such shipped model and no such folder or version. Check the name; a shipped one is always there."""


class ModelCorrupt(ModelError):
    """A file of a model folder is missing, unreadable or changed. Copy the whole folder again."""


class WrongRegion(ModelError):
    """A model, or a part of it, was made for another region. Give a model of the region, or make one (``region new``)."""


class StoreError(ModelError):
    """A model store cannot be used, or holds what cannot be trusted. Correct its address and keys, or withdraw the version."""


class StoreRefused(StoreError):
    """A model store answers and lets us do nothing. Correct STORE_KEY and STORE_SECRET, what they may do there, or make the bucket."""


class StoreUnavailable(StoreError):
    """A model store does not answer. Try again; the commands exit with 75."""


class TrainingError(MultitaskAISError):
    """A network does not learn: its loss is not a number any more. Start again with a lower learning rate or another seed."""


class StateError(MultitaskAISError):
    """Bytes are not a state of a version that this program reads. Start from an empty state, or with the program that wrote it."""


class OperatorError(MultitaskAISError):
    """The live operator cannot start or go on: broker, topics or security. Do what the message says; docs/operator/runbook.md has a table."""


class TryAgain(OperatorError):
    """Nothing that a person must repair. Run the same command again in a moment; it exits with 75 meanwhile."""
