"""Async Python SDK for the Chatloom public API."""

from chatloom_async.auth import ApiKey
from chatloom_async.cache import Cache, CacheStatistics
from chatloom_async.calls.retry import RetryPolicy
from chatloom_async.client import AsyncChatloom, ClientStatistics
from chatloom_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    Attempt,
    AuthenticationError,
    BadRequestError,
    ChatloomError,
    ClientClosedError,
    ConfigurationError,
    DeadlineExceededError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RedirectError,
    ResponseDecodeError,
)
from chatloom_async.fanout import Failure, FanOut, Success
from chatloom_async.models import (
    Agent,
    AgentList,
    AllowedDomains,
    AuditedAgent,
    Gap,
    WorkspaceSnapshot,
)
from chatloom_async.network.pool import ConnectionPool
from chatloom_async.network.statistics import PoolStatistics
from chatloom_async.ratelimit.values import LimiterStatistics, RateLimit
from chatloom_async.version import __version__

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "Agent",
    "AgentList",
    "AllowedDomains",
    "ApiKey",
    "AsyncChatloom",
    "Attempt",
    "AuditedAgent",
    "AuthenticationError",
    "BadRequestError",
    "Cache",
    "CacheStatistics",
    "ChatloomError",
    "ClientClosedError",
    "ClientStatistics",
    "ConfigurationError",
    "ConnectionPool",
    "DeadlineExceededError",
    "Failure",
    "FanOut",
    "Gap",
    "InternalServerError",
    "LimiterStatistics",
    "NotFoundError",
    "PermissionDeniedError",
    "PoolStatistics",
    "RateLimit",
    "RateLimitError",
    "RedirectError",
    "ResponseDecodeError",
    "RetryPolicy",
    "Success",
    "WorkspaceSnapshot",
    "__version__",
]
