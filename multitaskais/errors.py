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
    │       └── StoreUnavailable   it does not answer: trying again may help
    ├── StateError             bytes that are not a vessel state of a known version
    └── OperatorError          the live operator cannot start or go on (broker, topics, security)
        └── TryAgain               nothing that a person must repair: the same command may succeed in a moment (exit code 75)

A report or a line that cannot be used is not an error: it is a counted rejection (``records.Reason``).
"""


class MultitaskAISError(Exception):
    """Base of all errors of this package; the command line prints it as one line and exits with 2."""


class ConfigError(MultitaskAISError):
    pass


class InputError(MultitaskAISError):
    pass


class FormatError(InputError):
    pass


class ModelError(MultitaskAISError):
    pass


class ModelNotFound(ModelError):
    pass


class ModelCorrupt(ModelError):
    pass


class WrongRegion(ModelError):
    pass


class StoreError(ModelError):
    pass


class StoreUnavailable(StoreError):
    pass


class StateError(MultitaskAISError):
    pass


class OperatorError(MultitaskAISError):
    pass


class TryAgain(OperatorError):
    pass
