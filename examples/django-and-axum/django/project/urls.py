"""Which page is where. Everything below /rust/ is the Rust service's."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("count", views.count),
    path("remember", views.remember),
    path("expire", views.expire),
    path("session.json", views.session),
    path("login/", auth.LoginView.as_view()),
    path("logout/", auth.LogoutView.as_view()),
    path("password/", auth.PasswordChangeView.as_view(success_url="/")),
    path("admin/", admin.site.urls),
]
