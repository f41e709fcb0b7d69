"""Audits of many workspaces: run them, keep them, compare them, show them."""

from chatloom_async.audit.diff import AuditDiff, Change, FindingChange, Unknown, diff_audits
from chatloom_async.audit.files import AuditFile, load_audits, read_audits
from chatloom_async.audit.findings import FINDING_RULES, Rule
from chatloom_async.audit.judge import Judge
from chatloom_async.audit.log import AuditLog
from chatloom_async.audit.page import ReportContext, write_report
from chatloom_async.audit.results import AuditReport, AuditRun, AuditTotals, Finding, WorkspaceAudit
from chatloom_async.audit.run import AUDIT_RETRY, AuditStream, audit, stream_audit
from chatloom_async.models import AuditedAgent, Gap

__all__ = [
    "AUDIT_RETRY",
    "FINDING_RULES",
    "AuditDiff",
    "AuditFile",
    "AuditLog",
    "AuditReport",
    "AuditRun",
    "AuditStream",
    "AuditTotals",
    "AuditedAgent",
    "Change",
    "Finding",
    "FindingChange",
    "Gap",
    "Judge",
    "ReportContext",
    "Rule",
    "Unknown",
    "WorkspaceAudit",
    "audit",
    "diff_audits",
    "load_audits",
    "read_audits",
    "stream_audit",
    "write_report",
]
