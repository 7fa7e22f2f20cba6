"""Deployment on Google Cloud with gcloud: description.py says what, commands.py how, deploy.py does it."""
