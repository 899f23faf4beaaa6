"""Pages that read and write the session, as any Django view does."""

from datetime import datetime, timezone

from django.http import HttpResponseBadRequest, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST


def home(request):
    return render(request, "home.html", {"things": contents(request.session)})


@require_POST
def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return redirect("/")


@require_POST
def remember(request):
    name = request.POST.get("name", "")
    if not name or name.startswith("_"):
        return HttpResponseBadRequest("a name that begins with _ is the framework's")
    request.session[name] = request.POST.get("value", "")
    return redirect("/")


@require_POST
def expire(request):
    """`in` so many seconds after the last change, `at` a Unix time, or, without either, when the browser is closed."""
    try:
        if "at" in request.POST:
            at = datetime.fromtimestamp(int(request.POST["at"]), timezone.utc)
            request.session.set_expiry(at)
        else:
            request.session.set_expiry(int(request.POST.get("in", "0")))
    except (ValueError, OverflowError):
        return HttpResponseBadRequest("neither a time nor a number of seconds")
    return redirect("/")


def session(request):
    """The same as /rust/session.json."""
    return JsonResponse(
        {
            "user": request.user.get_username() or None,
            "expires_at": int(request.session.get_expiry_date().timestamp()),
            "ends_with_the_browser": request.session.get_expire_at_browser_close(),
            "things": contents(request.session),
        }
    )


def contents(session):
    """What the visitor put there: names that begin with _ are the framework's."""
    return {name: value for name, value in session.items() if not name.startswith("_")}
