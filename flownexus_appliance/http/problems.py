"""What is wrong, in the language of the page, by the code of an error.

An error says in English exactly what it met, with names and numbers in it, and programs get it so. Who reads
another language is told by the code what kind of trouble it is and what to do, and has the English below it
where that says more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..errors import ApplianceError
from .language import ENGLISH, N_, gettext, language


@dataclass(frozen=True, slots=True)
class Wording:
    """What is wrong and what to do; `whole` where the error itself can say no more."""

    what: str
    hint: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a page shows it; `detail` is what the error says in English, "" where nobody needs it."""

    message: str
    hint: str
    detail: str = ""


def told(error: ApplianceError) -> Told:
    """An error in the language of the request."""
    wording = WORDINGS.get(error.code)
    if language() is ENGLISH or wording is None:
        return Told(error.message, error.hint)
    detail = "" if wording.whole else "; ".join(filter(None, (error.message, error.hint)))
    return Told(gettext(wording.what), gettext(wording.hint), detail)


CHECK_ENTRY: Final = N_("check what you entered")
CHECK_PATH: Final = N_("write object, instance and resource, such as 3303/0/5700")
LOOK_AT_LIST: Final = N_("go back to the list: it shows what there is")
LOOK_AT_LOG: Final = N_("the log tells more")
LOAD_ANEW: Final = N_("go back, load the page anew and try again")
SET_CLOCK: Final = N_("set the clock, or let the box reach a time server")
WAIT_FOR_DEVICE: Final = N_("wait until the device registers again")

WORDINGS: Final[Mapping[str, Wording]] = {
    "arguments_invalid": Wording(
        N_("the arguments cannot be used"),
        N_("write digits, each with a text if need be: 0='/33629/1',2"),
    ),
    "at_once_invalid": Wording(N_("so many devices cannot be under way at once"), CHECK_ENTRY),
    "attributes_invalid": Wording(N_("the attributes cannot be used"), CHECK_ENTRY),
    "awake_window_invalid": Wording(N_("the time that the device listens cannot be used"), CHECK_ENTRY),
    "body_invalid": Wording(N_("the form cannot be used"), LOAD_ANEW),
    "body_too_large": Wording(N_("too much was sent at once"), N_("shorten what you entered")),
    "bootstrap_config_invalid": Wording(N_("the bootstrap configuration cannot be used"), CHECK_ENTRY),
    "bootstrap_config_unknown": Wording(
        N_("the device has no bootstrap configuration of its own"), LOOK_AT_LIST
    ),
    "bootstrap_unsupported": Wording(
        N_("the device cannot be asked to bootstrap"),
        N_("restart the device: it bootstraps when it starts, if it is made for that"),
    ),
    "ca_missing": Wording(
        N_("the box has no root certificate yet"),
        N_("it is made as soon as the clock is right; devices with a pre-shared key need none"),
    ),
    "campaign_empty": Wording(
        N_("no device is left for the campaign"), N_("choose other devices, or see why they are left out")
    ),
    "campaign_ended": Wording(N_("the campaign has ended already"), N_("begin another one")),
    "campaign_name_invalid": Wording(
        N_("the name of the campaign cannot be used"), N_("use fewer, printable characters")
    ),
    "campaign_unknown": Wording(N_("there is no such campaign"), LOOK_AT_LIST),
    "campaign_unmoved": Wording(N_("the campaign stands there already"), LOAD_ANEW),
    "certificate_invalid": Wording(N_("the certificate cannot be used"), CHECK_ENTRY),
    "client_limit": Wording(
        N_("too many browsers are listening already"), N_("close pages that nobody looks at")
    ),
    "clock_untrusted": Wording(N_("nothing is signed while the clock is not right"), SET_CLOCK),
    "config_invalid": Wording(N_("the configuration file has mistakes"), N_("mend the lines named below")),
    "config_unreadable": Wording(
        N_("the configuration file cannot be read"), N_("check its name, its owner and its encoding")
    ),
    "credential_unknown": Wording(
        N_("there is no such credential that could still be used"),
        N_("the page of the device lists those it has"),
    ),
    "cross_site": Wording(
        N_("the request comes from another site's page"), N_("use the pages of this box"), whole=True
    ),
    "ddf_invalid": Wording(
        N_("the file is no DDF file, or has a mistake"), N_("the detail below says where")
    ),
    "deadline_past": Wording(N_("the deadline has passed already"), N_("give one that is ahead"), whole=True),
    "delivery_closed": Wording(
        N_("the box has no such way of delivery open"), N_("choose another one, or open it in the settings")
    ),
    "duration_invalid": Wording(N_("the enrolment cannot stay open for so long"), CHECK_ENTRY),
    "endpoint_asleep": Wording(
        N_("the device sleeps"), N_("wait until it wakes, or ask by an operation: that waits by itself")
    ),
    "endpoint_invalid": Wording(N_("this name cannot be a device's"), CHECK_ENTRY),
    "endpoint_missing": Wording(N_("the device has no name"), N_("give it one"), whole=True),
    "endpoint_offline": Wording(N_("the device is not registered"), WAIT_FOR_DEVICE),
    "endpoint_unknown": Wording(N_("no device is called that"), N_("check its name in the list of devices")),
    "endpoint_unseen": Wording(
        N_("the device has never registered"), N_("start the device, and ask when it is there")
    ),
    "etag_differs": Wording(N_("the package is another one by now"), N_("begin from its first byte")),
    "expiry_past": Wording(N_("the token would have expired already"), N_("give a later time"), whole=True),
    "failure_limit_invalid": Wording(
        N_("the share of failures cannot be used"), N_("give per cent, from 0 to 100")
    ),
    "file_name_invalid": Wording(
        N_("the name of the file cannot be used"), N_("give it a plain name, without folders")
    ),
    "firmware_in_use": Wording(
        N_("the firmware is on its way to devices"),
        N_("wait for its updates and campaigns to end, or stop them"),
    ),
    "firmware_known": Wording(N_("the box has this package with this version already"), LOOK_AT_LIST),
    "firmware_not_for": Wording(
        N_("the firmware is for other devices"), N_("choose another one, or ask for it all the same")
    ),
    "firmware_unknown": Wording(N_("there is no such firmware"), LOOK_AT_LIST),
    "form_replayed": Wording(
        N_("the form was sent already, and is taken once"),
        N_("go back and load the page anew: it shows what became of it"),
        whole=True,
    ),
    "form_stale": Wording(
        N_("the form is of another session, and was not taken"),
        N_("go back, load the page anew and fill it in again"),
        whole=True,
    ),
    "format_single_value": Wording(
        N_("this format carries one value alone"), N_("choose SenML CBOR or TLV for more")
    ),
    "format_unexpected": Wording(N_("this operation has no choice of format"), N_("leave the format out")),
    "identity_invalid": Wording(
        N_("the PSK identity is empty or too long"), N_("many devices hold no more than 32 bytes")
    ),
    "identity_taken": Wording(
        N_("another device has this identity or key already"),
        N_("choose another, or remove the one that has it"),
    ),
    "instance_invalid": Wording(
        N_("this is no object instance that updates firmware"), N_("write /5/0, or /33629/1 for another part")
    ),
    "instance_unknown": Wording(
        N_("the device has no such object instance"), N_("the page of the device lists those it has")
    ),
    "internal_error": Wording(N_("something went wrong in the box"), LOOK_AT_LOG, whole=True),
    "key_invalid": Wording(
        N_("the key cannot be used"),
        N_("write two hexadecimal digits a byte, 16 bytes or more, or let the box make it"),
    ),
    "label_invalid": Wording(N_("the label cannot be used"), N_("use fewer, printable characters")),
    "last_admin": Wording(
        N_("without this person nobody would be an administrator"),
        N_("make somebody else an administrator first"),
        whole=True,
    ),
    "links_invalid": Wording(N_("the list of links cannot be used"), CHECK_ENTRY),
    "media_type_unsupported": Wording(
        N_("what was sent is of a kind that is not taken here"), N_("send the form from its page")
    ),
    "method_not_allowed": Wording(N_("this address does not take that"), LOAD_ANEW),
    "model_limit": Wording(
        N_("no more object models can be uploaded"), N_("remove some that no device needs any more")
    ),
    "model_unknown": Wording(N_("there is no such object model"), LOOK_AT_LIST),
    "models_unwritable": Wording(N_("the object models cannot be stored"), N_("check the free space")),
    "name_invalid": Wording(
        N_("a certificate cannot carry this name"),
        N_("use printable characters, with no space before or after them"),
    ),
    "name_too_long": Wording(
        N_("the name is too long for a certificate"), N_("use a shorter name, or a pre-shared key")
    ),
    "not_executable": Wording(N_("this resource cannot be executed"), LOOK_AT_LIST),
    "not_multiple": Wording(
        N_("this resource has a single value"), N_("leave out the number of the resource instance")
    ),
    "not_readable": Wording(N_("this resource cannot be read"), LOOK_AT_LIST),
    "not_writable": Wording(N_("this resource cannot be written"), N_("its model does not let servers")),
    "note_invalid": Wording(N_("the note cannot be used"), N_("use fewer, printable characters")),
    "notes_changed": Wording(
        N_("somebody else has changed this meanwhile"),
        N_("look at what stands there now; saving again puts yours in its place"),
        whole=True,
    ),
    "notes_invalid": Wording(
        N_("the notes are too long, or have control characters"), N_("shorten what you entered")
    ),
    "object_missing": Wording(
        N_("the device has no Firmware Update object"), N_("it has to be updated by other means")
    ),
    "object_unknown": Wording(
        N_("the device has no such object"), N_("the page of the device lists those it has")
    ),
    "observation_unknown": Wording(N_("the device is not observed there"), LOOK_AT_LIST),
    "operation_done": Wording(
        N_("the operation is over already"), N_("what it did stays done; it can be asked for again")
    ),
    "operation_missing": Wording(
        N_("there is no such operation"), N_("of each device the newest are kept; the list has them")
    ),
    "operation_unfinished": Wording(N_("the operation is still under way"), N_("it is tried by itself")),
    "operation_unknown": Wording(N_("there is no operation of that name"), LOAD_ANEW),
    "overlap_invalid": Wording(
        N_("the roots cannot overlap for so long"), N_("give from a day to 20 years, in days")
    ),
    "package_corrupt": Wording(
        N_("the package is damaged"), N_("build or download it again, and upload that")
    ),
    "package_empty": Wording(N_("the package is empty"), N_("choose the file that was built"), whole=True),
    "package_missing": Wording(N_("the file of the package is gone from the box"), N_("upload it again")),
    "package_too_large": Wording(
        N_("the package is larger than 64 MiB"),
        N_("upload the image that the device installs, not an archive of the build"),
    ),
    "package_truncated": Wording(
        N_("the package is not whole"), N_("build or download it again, and upload that")
    ),
    "package_unknown": Wording(
        N_("there is no such package"), N_("the update that it was for has ended"), whole=True
    ),
    "package_unwritable": Wording(
        N_("the package cannot be stored"), N_("check the free space and the owner of the state folder")
    ),
    "password_own": Wording(
        N_("that is your own password"), N_("change it on the page of your account"), whole=True
    ),
    "password_unlike": Wording(N_("the two passwords are not the same"), N_("type it once more"), whole=True),
    "password_weak": Wording(
        N_("the password is too short, too long, or too easy to guess"),
        N_("use a few words that have nothing to do with each other"),
    ),
    "password_wrong": Wording(
        N_("that is not your password"), N_("mind capital letters; nothing was changed"), whole=True
    ),
    "path_incomplete": Wording(N_("the path names no resource"), CHECK_PATH),
    "path_invalid": Wording(N_("the path cannot be used"), CHECK_PATH),
    "path_outside": Wording(N_("the path is outside what was asked for"), CHECK_PATH),
    "paths_invalid": Wording(N_("the paths cannot be used together"), CHECK_ENTRY),
    "pki_damaged": Wording(
        N_("a file of the certificate authority is damaged"), N_("restore it from a backup")
    ),
    "pki_empty": Wording(
        N_("the box has no certificate authority yet"),
        N_("it is made as soon as the clock is right: check the clock"),
    ),
    "pki_foreign": Wording(
        N_("a file of the certificate authority is not of this software"), N_("restore it from a backup")
    ),
    "pki_unreadable": Wording(N_("the certificate authority's files cannot be read"), LOOK_AT_LOG),
    "pki_unwritable": Wording(
        N_("the certificate authority's files cannot be written"),
        N_("check the owner of the folder and the free space; the certificates of before go on serving"),
    ),
    "query_invalid": Wording(
        N_("the address asks for something that is not there"), N_("follow the links of the pages")
    ),
    "queue_full": Wording(
        N_("too many operations wait for devices already"), N_("wait until devices wake, or cancel some")
    ),
    "range_invalid": Wording(N_("the time span has no length"), N_("choose a beginning before its end")),
    "range_unsatisfiable": Wording(N_("the package ends before that"), N_("begin from its first byte")),
    "request_invalid": Wording(N_("the request cannot be used"), LOAD_ANEW),
    "request_key_unsupported": Wording(
        N_("the certificate request is for a key of another kind"),
        N_("make an elliptic-curve key on P-256: devices and the box speak no other"),
        whole=True,
    ),
    "request_name": Wording(
        N_("the certificate request is for another name"),
        N_("its subject must have one common name, which is the device's"),
    ),
    "request_timeout": Wording(N_("the form did not arrive in time"), N_("send it again"), whole=True),
    "request_unreadable": Wording(
        N_("this is no certificate request"),
        N_("give a PKCS#10 request as PEM, such as `openssl req -new` makes"),
        whole=True,
    ),
    "request_unsigned": Wording(
        N_("the certificate request is not signed by its own key"),
        N_("make it anew on the device: it was altered on the way, or by whoever has no such key"),
        whole=True,
    ),
    "resource_undefined": Wording(
        N_("the object's model has no such resource"),
        N_("check the number, or upload a model that has it"),
    ),
    "resource_unknown": Wording(
        N_("the device has told no value of this resource yet"), N_("read it, or observe it")
    ),
    "role_missing": Wording(
        N_("this is not for your role"), N_("ask an administrator for another role, or somebody who has it")
    ),
    "roll_over_limit": Wording(
        N_("several roots are trusted already"),
        N_(
            "wait until the oldest ends, or finish the roll-over: devices that know no newer root need new "
            "credentials"
        ),
    ),
    "roll_over_none": Wording(
        N_("no roll-over is under way"), N_("all is well: only one root is trusted"), whole=True
    ),
    "series_unknown": Wording(
        N_("there are no samples of this resource"), N_("observe the resource to gather samples")
    ),
    "session_needed": Wording(
        N_("this is for somebody who is signed in with a browser"),
        N_("sign in with a browser for it"),
        whole=True,
    ),
    "session_unknown": Wording(
        N_("there is no such session"), N_("it may have ended: load the page anew"), whole=True
    ),
    "setting_invalid": Wording(N_("this value cannot be used for this setting"), CHECK_ENTRY),
    "settings_unwritable": Wording(
        N_("the settings cannot be written"), N_("check the free space and the owner of the state folder")
    ),
    "setup_code_wrong": Wording(
        N_("that is not the setup code of this box"),
        N_("flownexus setup-code tells it on the box, and so does its log"),
        whole=True,
    ),
    "setup_done": Wording(N_("this box has been set up already"), N_("sign in, and try again"), whole=True),
    "setup_needed": Wording(
        N_("nobody can sign in to this box yet"),
        N_("open its address in a browser and enter the setup code: flownexus setup-code tells it"),
        whole=True,
    ),
    "sign_in_needed": Wording(
        N_("this is for those who signed in"), N_("sign in, and try again"), whole=True
    ),
    "sign_in_refused": Wording(
        N_("the name or the password is not right"),
        N_("mind capital letters; an administrator can set a new password"),
        whole=True,
    ),
    "sign_in_throttled": Wording(N_("there were too many mistakes"), N_("wait a little, then try again")),
    "start_invalid": Wording(N_("the start cannot be used"), N_("give a time within a year from now")),
    "storage_low": Wording(
        N_("there is too little free space for the package"),
        N_("remove firmware that no device needs any more, or use a larger disk"),
        whole=True,
    ),
    "store_failed": Wording(
        N_("the database did not take what was to be written"),
        N_("check the free space and the health of the disk; devices repeat what was not acknowledged"),
    ),
    "store_full": Wording(
        N_("the database does not keep up"),
        N_("try again soon; if it lasts, the disk is too slow"),
        whole=True,
    ),
    "tag_invalid": Wording(N_("a tag cannot be used"), N_("use fewer, printable characters, and no comma")),
    "tag_limit": Wording(N_("there are too many tags"), N_("leave some out")),
    "target_invalid": Wording(N_("what says which devices it is for cannot be used"), CHECK_ENTRY),
    "time_invalid": Wording(N_("the time is out of range"), CHECK_ENTRY),
    "time_unsupported": Wording(N_("this format carries no times"), N_("use SenML CBOR")),
    "token_limit": Wording(N_("there are too many tokens already"), N_("remove those that expired")),
    "token_name_invalid": Wording(
        N_("this name cannot be a token's"),
        N_("use 1 to 40 of A-Z, a-z, 0-9, space, dot, hyphen and underscore, a letter or digit first"),
    ),
    "token_taken": Wording(
        N_("there is a token of that name already"), N_("remove it, or choose another name"), whole=True
    ),
    "token_unknown": Wording(
        N_("there is no such token"), N_("it may have been removed: load the page anew"), whole=True
    ),
    "unknown_address": Wording(N_("nothing is served at this address"), N_("follow the links of the pages")),
    "update_done": Wording(N_("the update has ended already"), N_("its page shows how")),
    "update_installing": Wording(
        N_("the device is installing the firmware, and nothing can stop that"), N_("wait until it is through")
    ),
    "update_under_way": Wording(
        N_("the device has an update under way"), N_("wait until it has ended, or cancel it")
    ),
    "update_unfinished": Wording(
        N_("the update has not ended yet"), N_("wait until it has ended, or cancel it")
    ),
    "update_unknown": Wording(N_("there is no such update"), LOOK_AT_LIST),
    "upload_broken": Wording(N_("the upload broke off"), N_("send it again"), whole=True),
    "upload_busy": Wording(
        N_("as many packages as can be are being uploaded already"), N_("wait until one of them is through")
    ),
    "user_limit": Wording(N_("there are too many people already"), N_("remove those who are here no more")),
    "user_name_invalid": Wording(
        N_("this name cannot be a person's"),
        N_("use 1 to 32 of a-z, 0-9, dot, hyphen and underscore, a letter or digit first"),
    ),
    "user_taken": Wording(N_("somebody has that name already"), N_("choose another name"), whole=True),
    "user_unknown": Wording(N_("there is nobody of that name"), N_("the page of people has those there are")),
    "validity_invalid": Wording(
        N_("the certificate cannot be valid for so long"), N_("leave the field empty for the usual time")
    ),
    "value_invalid": Wording(N_("this value cannot be used here"), CHECK_ENTRY),
    "value_missing": Wording(N_("the value is missing"), N_("give a value"), whole=True),
    "value_unexpected": Wording(N_("this operation takes no such value"), LOAD_ANEW),
    "version_invalid": Wording(
        N_("the version cannot be used"), N_("write it as a device tells it that runs it")
    ),
    "version_missing": Wording(
        N_("nothing says which version this is"), N_("write it as a device tells it that runs it")
    ),
    "watch_pattern_invalid": Wording(
        N_("this is no watch pattern"),
        N_("write object, instance and resource, the first two may be *: /3303/*/5700, */*/5700, /3/0/9"),
    ),
}
