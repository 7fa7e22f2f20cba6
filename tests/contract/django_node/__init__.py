"""A Django project that serves django-scim2: an endpoint that we did not write, as its documentation sets it up."""
