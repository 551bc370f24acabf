"""The record of changes as its page shows it: what was to be done in words, to which device, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..db.people import AuditRow
from .language import N_
from .problems import WORDINGS
from .views import device_url

ASKED: Final = N_("Ask for an operation")
CANCELLED: Final = N_("Cancel an operation")
RETRIED: Final = N_("Ask for an operation again")
ADDED: Final = N_("Add a device")
CREDENTIAL_REMOVED: Final = N_("Remove a credential")
CREDENTIAL_RENEWED: Final = N_("Renew a credential")
DESCRIBED: Final = N_("Describe a device")
ENROLMENT_OPENED: Final = N_("Open enrolment")
ENROLMENT_CLOSED: Final = N_("Close enrolment")
ROTATED: Final = N_("Rotate the certificates")
ROLLED: Final = N_("Roll over to a new root")
ROLL_FINISHED: Final = N_("Finish the roll-over")
BOOTSTRAP_SET: Final = N_("Configure bootstrap")
BOOTSTRAP_DROPPED: Final = N_("Set bootstrap back to the default")
BOOTSTRAP_ASKED: Final = N_("Ask a device to bootstrap")
USER_ADDED: Final = N_("Add a person")
USER_CHANGED: Final = N_("Change a person")
USER_REMOVED: Final = N_("Remove a person")
PASSWORD_RESET: Final = N_("Reset a password")
PASSWORD_CHANGED: Final = N_("Change one's own password")
SESSION_ENDED: Final = N_("End a session")
TOKEN_ADDED: Final = N_("Add an API token")
TOKEN_REMOVED: Final = N_("Remove an API token")
SETTINGS_CHANGED: Final = N_("Change settings")
RESTARTED: Final = N_("Restart the box's service")
VALUES_TAKEN: Final = N_("Take in values of a device")
FIRMWARE_ADDED: Final = N_("Add a firmware package")
FIRMWARE_CHANGED: Final = N_("Describe a firmware package")
FIRMWARE_REMOVED: Final = N_("Remove a firmware package")
UPDATE_ASKED: Final = N_("Update the firmware of a device")
UPDATE_CANCELLED: Final = N_("Cancel a firmware update")
UPDATE_RETRIED: Final = N_("Try a firmware update again")
CAMPAIGN_BEGUN: Final = N_("Begin a firmware campaign")
CAMPAIGN_PAUSED: Final = N_("Pause a firmware campaign")
CAMPAIGN_RESUMED: Final = N_("Have a firmware campaign go on")
CAMPAIGN_STOPPED: Final = N_("Stop a firmware campaign")
CAMPAIGN_STEERED: Final = N_("Pause, resume or stop a firmware campaign")
CAMPAIGN_LOOKED: Final = N_("See which devices a campaign would have")

# By what `guard.py` writes down: the method and the address. What is not here is shown as it is.
ACTIONS: Final[Mapping[str, str]] = {
    "POST /setup": N_("Set the box up"),
    "POST /sign-in": N_("Sign in"),
    "POST /sign-out": N_("Sign out"),
    "POST /account/password": PASSWORD_CHANGED,
    "POST /account/sessions/{id}/end": SESSION_ENDED,
    "POST /account/sessions/end-others": N_("End all other sessions"),
    "POST /account/tokens": TOKEN_ADDED,
    "POST /account/tokens/{id}/remove": TOKEN_REMOVED,
    "POST /account/language": N_("Choose a language"),
    "POST /people": USER_ADDED,
    "POST /people/{name}/role": N_("Change a role"),
    "POST /people/{name}/password": PASSWORD_RESET,
    "POST /people/{name}/remove": USER_REMOVED,
    "POST /people/{name}/sessions/{id}/end": SESSION_ENDED,
    "POST /people/{name}/tokens/{id}/remove": TOKEN_REMOVED,
    "POST /add-device": ADDED,
    "POST /credentials/{id}/renew": CREDENTIAL_RENEWED,
    "POST /credentials/{id}/remove": CREDENTIAL_REMOVED,
    "POST /enrolment": ENROLMENT_OPENED,
    "POST /enrolment/close": ENROLMENT_CLOSED,
    "POST /certificates/rotate": ROTATED,
    "POST /certificates/roll-over": ROLLED,
    "POST /certificates/roll-over/finish": ROLL_FINISHED,
    "POST /bootstrap": BOOTSTRAP_SET,
    "POST /bootstrap/default": BOOTSTRAP_DROPPED,
    "POST /devices/{endpoint}/bootstrap": BOOTSTRAP_SET,
    "POST /devices/{endpoint}/bootstrap/default": BOOTSTRAP_DROPPED,
    "POST /devices/{endpoint}/bootstrap/ask": BOOTSTRAP_ASKED,
    "POST /operations/{id}/cancel": CANCELLED,
    "POST /operations/{id}/retry": RETRIED,
    "POST /devices/{endpoint}/operations": ASKED,
    "POST /devices/{endpoint}/firmware": UPDATE_ASKED,
    "POST /firmware/packages": FIRMWARE_ADDED,
    "POST /firmware/packages/{id}": FIRMWARE_CHANGED,
    "POST /firmware/packages/{id}/remove": FIRMWARE_REMOVED,
    "POST /firmware/packages/{id}/update": UPDATE_ASKED,
    "POST /firmware/updates/{id}/cancel": UPDATE_CANCELLED,
    "POST /firmware/updates/{id}/retry": UPDATE_RETRIED,
    "POST /firmware/campaigns": CAMPAIGN_BEGUN,
    "POST /firmware/campaigns/new": CAMPAIGN_LOOKED,
    "POST /firmware/campaigns/{id}/pause": CAMPAIGN_PAUSED,
    "POST /firmware/campaigns/{id}/resume": CAMPAIGN_RESUMED,
    "POST /firmware/campaigns/{id}/stop": CAMPAIGN_STOPPED,
    "PATCH /api/v1/endpoints/{endpoint}": DESCRIBED,
    "POST /api/v1/endpoints/{endpoint}/operations": ASKED,
    "DELETE /api/v1/operations/{id}": CANCELLED,
    "POST /api/v1/operations/{id}/retry": RETRIED,
    "POST /api/v1/endpoints/{endpoint}/observations": N_("Ask for an observation"),
    "DELETE /api/v1/endpoints/{endpoint}/observations": N_("End an observation"),
    "POST /api/v1/models": N_("Upload an object model"),
    "DELETE /api/v1/models/{object_id}/{version}": N_("Remove an object model"),
    "POST /api/v1/endpoints": ADDED,
    "POST /api/v1/endpoints/{endpoint}/credentials": N_("Add a credential"),
    "DELETE /api/v1/endpoints/{endpoint}/credentials": CREDENTIAL_REMOVED,
    "DELETE /api/v1/credentials/{id}": CREDENTIAL_REMOVED,
    "POST /api/v1/credentials/{id}/renew": CREDENTIAL_RENEWED,
    "POST /api/v1/enrolment": ENROLMENT_OPENED,
    "DELETE /api/v1/enrolment": ENROLMENT_CLOSED,
    "POST /api/v1/certificates/rotate": ROTATED,
    "POST /api/v1/certificates/roll-over": ROLLED,
    "POST /api/v1/certificates/roll-over/finish": ROLL_FINISHED,
    "PUT /api/v1/bootstrap": BOOTSTRAP_SET,
    "DELETE /api/v1/bootstrap": BOOTSTRAP_DROPPED,
    "PUT /api/v1/bootstrap/{endpoint}": BOOTSTRAP_SET,
    "DELETE /api/v1/bootstrap/{endpoint}": BOOTSTRAP_DROPPED,
    "POST /api/v1/endpoints/{endpoint}/bootstrap": BOOTSTRAP_ASKED,
    "POST /devices/{endpoint}/about": DESCRIBED,
    "POST /system/settings": SETTINGS_CHANGED,
    "PATCH /api/v1/settings": SETTINGS_CHANGED,
    "POST /system/restart": RESTARTED,
    "POST /api/v1/restart": RESTARTED,
    "POST /api/v1/users": USER_ADDED,
    "PATCH /api/v1/users/{name}": USER_CHANGED,
    "DELETE /api/v1/users/{name}": USER_REMOVED,
    "POST /api/v1/account/password": PASSWORD_CHANGED,
    "POST /api/v1/tokens": TOKEN_ADDED,
    "DELETE /api/v1/tokens/{id}": TOKEN_REMOVED,
    "DELETE /api/v1/sessions/{id}": SESSION_ENDED,
    "POST /api/v1/firmware": FIRMWARE_ADDED,
    "PATCH /api/v1/firmware/{id}": FIRMWARE_CHANGED,
    "DELETE /api/v1/firmware/{id}": FIRMWARE_REMOVED,
    "POST /api/v1/endpoints/{endpoint}/updates": UPDATE_ASKED,
    "DELETE /api/v1/updates/{id}": UPDATE_CANCELLED,
    "POST /api/v1/updates/{id}/retry": UPDATE_RETRIED,
    "POST /api/v1/campaigns": CAMPAIGN_BEGUN,
    "POST /api/v1/campaigns/preview": CAMPAIGN_LOOKED,
    "PATCH /api/v1/campaigns/{id}": CAMPAIGN_STEERED,
    "POST /leshan_api/resource/single": VALUES_TAKEN,
    "POST /leshan_api/resource/composite": VALUES_TAKEN,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change on record.

    `words` is what was to be done and `why` what was wrong, each "" where only the address or the code is
    known. `device` is the name of the device that it was done to, `rest` what else it was done to.
    """

    row: AuditRow
    words: str
    why: str
    device: str
    url: str
    rest: str


def change(row: AuditRow) -> Change:
    """A change as the page shows it."""
    names = [part[1:-1] for part in row.action.split("/") if part.startswith("{") and part.endswith("}")]
    device, rest = "", row.target
    if names and names[0] == "endpoint" and row.target:
        # A device may have spaces in its name, what follows it has none.
        parts = row.target.rsplit(" ", len(names) - 1)
        device, rest = parts[0], " ".join(parts[1:])
    wording = WORDINGS.get(row.outcome)
    return Change(
        row,
        ACTIONS.get(row.action, ""),
        "" if wording is None else wording.what,
        device,
        device_url(device) if device else "",
        rest,
    )
