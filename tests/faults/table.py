"""The whole table."""

from tests.faults.case import Case
from tests.faults.connections import CONNECTIONS
from tests.faults.documents import DOCUMENTS
from tests.faults.framing import FRAMING
from tests.faults.redirects import REDIRECTS
from tests.faults.statuses import STATUSES
from tests.faults.tls import TLS

CASES: tuple[Case, ...] = (*STATUSES, *DOCUMENTS, *FRAMING, *CONNECTIONS, *REDIRECTS, *TLS)
